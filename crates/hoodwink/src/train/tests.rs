use onnx_grad::{Loss, training_graph};

use super::*;
use crate::{
    engine::{Choice, open},
    threat::{Ball, Norm},
};

/// Squares of two brightnesses in noise: `count` grey pictures of two classes.
fn squares(count: usize, side: usize) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let pictures = (0..count)
        .map(|row| {
            let label = row % 2;
            let inside = |at: usize| (side / 4..side / 2).contains(&at);
            let bytes = (0..side * side)
                .map(|at| {
                    let square = inside(at / side) && inside(at % side);
                    let light = if square { 90 + 60 * label as u8 } else { 90 };
                    light + rng.random_range(0..60)
                })
                .collect();
            (Picture::new(1, side, side, bytes).unwrap(), label)
        })
        .collect();
    Dataset::from_pictures("squares", pictures, None).unwrap()
}

fn settings(preset: Preset) -> Settings {
    Settings {
        preset,
        epochs: 2,
        batch: 40,
        learning_rate: 2e-3,
        optimiser: Optimiser::Adam,
        weight_decay: 1e-4,
        augment: Augment {
            shift: 1,
            flip: true,
        },
        adversarial: None,
        seed: 3,
        threads: 1,
    }
}

fn run(settings: &Settings, data: &Dataset, held_out: Option<&Dataset>) -> Result<Trained> {
    train(
        settings,
        open(Choice::Rten)?.as_ref(),
        data,
        held_out,
        |_| Ok(()),
    )
}

#[test]
fn the_number_of_threads_does_not_change_a_byte() {
    // 50 pictures: shards of 16, 16, 8 and a short last batch.
    let data = squares(50, 13);
    let ball = Ball {
        norm: Norm::Linf,
        eps: 0.02,
    };
    let attack = Adversarial {
        ball,
        step_size: 0.01,
        steps: 2,
        warm_up_epochs: 1,
    };
    for adversarial in [None, Some(attack)] {
        let one = Settings {
            adversarial,
            ..settings(Preset::Tutorial)
        };
        let alone = run(&one, &data, None).unwrap();
        let three = run(
            &Settings {
                threads: 3,
                ..one.clone()
            },
            &data,
            None,
        )
        .unwrap();
        assert_eq!(alone.history, three.history);
        assert_eq!(alone.to_onnx().unwrap(), three.to_onnx().unwrap());
        let other = run(&Settings { seed: 4, ..one }, &data, None).unwrap();
        assert_ne!(alone.to_onnx().unwrap(), other.to_onnx().unwrap());
    }
}

#[test]
fn every_network_learns_32_pictures_by_heart() {
    let data = squares(32, 13);
    for preset in Preset::ALL {
        let settings = Settings {
            epochs: 25,
            batch: 16,
            weight_decay: 0.0,
            augment: Augment::default(),
            ..settings(preset)
        };
        let trained = run(&settings, &data, Some(&data)).unwrap();
        let last = trained.history.last().unwrap();
        assert_eq!(last.held_out_accuracy, Some(1.0), "{preset}: {last:?}");
        assert!(last.loss < 0.1, "{preset}: {last:?}");
    }
}

#[test]
fn weight_gradients_agree_with_finite_differences() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let task = Task {
        input: [1, 28, 28],
        classes: 10,
        mean: vec![0.1],
        deviation: vec![0.3],
    };
    let network = Network::new(Preset::Tutorial, &task, &mut rng).unwrap();
    let graph = training_graph(&network.graph, Loss::CrossEntropy, &network.weights).unwrap();
    let mut program = open(Choice::Rten).unwrap().compile(&graph).unwrap();
    let pixels: Vec<f32> = (0..4 * 784).map(|_| rng.random()).collect();
    let pixels = Tensor::f32([4, 1, 28, 28], pixels).unwrap();
    let labels = Tensor::vector(&[0, 3, 7, 9]);
    let weights = Weights::of(&network).unwrap();
    let mut run = |weights: &Weights| {
        let inputs = [
            vec![pixels.clone(), labels.clone()],
            weights.tensors().unwrap(),
        ]
        .concat();
        let mut outputs = program.run(&inputs).unwrap();
        let losses = outputs[1].as_f32().unwrap();
        (
            losses.iter().map(|&l| f64::from(l)).sum::<f64>(),
            outputs.split_off(2),
        )
    };
    let (_, gradients) = run(&weights);
    for (at, gradient) in gradients.iter().enumerate() {
        let gradient = gradient.as_f32().unwrap();
        let length = gradient
            .iter()
            .map(|g| f64::from(g * g))
            .sum::<f64>()
            .sqrt();
        assert!(length > 0.0);
        // Along the gradient the loss must change by its length; a short step stays between the kinks.
        let moved = |sign: f64| {
            let mut values = weights.values.clone();
            for (value, g) in values[at].iter_mut().zip(gradient) {
                *value += (sign * STEP * f64::from(*g) / length) as f32;
            }
            Weights {
                shapes: weights.shapes.clone(),
                values,
            }
        };
        let slope = (run(&moved(1.0)).0 - run(&moved(-1.0)).0) / (2.0 * STEP);
        let name = &network.graph.node(network.weights[at]).name;
        assert!(
            (slope / length - 1.0).abs() < 0.02,
            "{name}: {slope} and {length}"
        );
    }
}

const STEP: f64 = 2e-3;

#[test]
fn impossible_settings_and_data_are_refused() {
    let data = squares(4, 13);
    let sound = settings(Preset::Tutorial);
    for wrong in [
        Settings {
            epochs: 0,
            ..sound.clone()
        },
        Settings {
            batch: 0,
            ..sound.clone()
        },
        Settings {
            learning_rate: -1.0,
            ..sound.clone()
        },
        Settings {
            optimiser: Optimiser::Sgd { momentum: 1.0 },
            ..sound.clone()
        },
    ] {
        assert!(
            matches!(run(&wrong, &data, None), Err(Error::Invalid(_))),
            "{wrong:?}"
        );
    }
    assert!(run(&sound, &data, Some(&squares(4, 14))).is_err());
}

#[test]
fn progress_can_stop_the_training() {
    let engine = open(Choice::Rten).unwrap();
    let stopped = train(
        &settings(Preset::Tutorial),
        engine.as_ref(),
        &squares(4, 13),
        None,
        |_| Err(Error::Stopped),
    );
    assert!(matches!(stopped, Err(Error::Stopped)));
}
