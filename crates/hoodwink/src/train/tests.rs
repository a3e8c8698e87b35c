use std::time::Duration;

use onnx_grad::{Loss, Tensor, training_graph};
use rand::SeedableRng;

use super::*;
use crate::{
    engine::{Choice, open},
    image::Picture,
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
        network: preset.architecture().unwrap(),
        epochs: 2,
        batch: 40,
        learning_rate: 2e-3,
        schedule: Schedule::Cosine,
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
        None,
        |_| Ok(()),
    )
}

/// L0 balls are not convex, so there is no steepest ascent step to train with.
#[test]
fn adversarial_training_in_l0_is_refused() {
    let attack = |norm| Adversarial {
        ball: Ball { norm, eps: 3.0 },
        step_size: 1.0,
        steps: 1,
        warm_up_epochs: 0,
    };
    for norm in Norm::ALL {
        let settings = Settings {
            adversarial: Some(attack(norm)),
            ..settings(Preset::Tutorial)
        };
        assert_eq!(settings.check().is_ok(), norm != Norm::L0, "{norm}");
    }
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
    let network = Network::new(&Preset::Tutorial.architecture().unwrap(), &task, &mut rng).unwrap();
    let graph = training_graph(&network.graph, Loss::CrossEntropy, &network.weights).unwrap();
    let mut program = open(Choice::Rten).unwrap().compile(&graph).unwrap();
    let pixels: Vec<f32> = (0..4 * 784).map(|_| rng.random()).collect();
    let pixels = Tensor::f32([4, 1, 28, 28], pixels).unwrap();
    let labels = Tensor::vector(&[0, 3, 7, 9]);
    let mut weights = Weights::of(&network).unwrap();
    // With a last layer of zeros every gradient would be zero.
    for weight in weights.values.iter_mut().flatten() {
        *weight += rng.random_range(-0.05..0.05);
    }
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
        // A step of unit length along the gradient must change the loss by the gradient's length; a short step avoids
        // the kinks.
        let moved = |sign: f64| {
            let mut values = weights.values.clone();
            for (value, g) in values[at].iter_mut().zip(gradient) {
                *value += (sign * STEP * f64::from(*g) / length) as f32;
            }
            Weights {
                values,
                ..weights.clone()
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
        None,
        |_| Err(Error::Stopped),
    );
    assert!(matches!(stopped, Err(Error::Stopped)));
}

/// Trains with a checkpoint, stops after `stop` steps, and returns how many were taken.
fn run_until(
    stop: usize,
    settings: &Settings,
    data: &Dataset,
    checkpoint: &Checkpoint,
) -> (Result<Trained>, usize) {
    let (engine, mut taken) = (open(Choice::Rten).unwrap(), 0);
    let result = train(
        settings,
        engine.as_ref(),
        data,
        Some(data),
        Some(checkpoint),
        |told| {
            taken += usize::from(matches!(told, Progress::Step { .. }));
            match taken < stop {
                true => Ok(()),
                false => Err(Error::Stopped),
            }
        },
    );
    (result, taken)
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bytes() {
    let data = squares(50, 13);
    let attack = Adversarial {
        ball: Ball {
            norm: Norm::Linf,
            eps: 0.02,
        },
        step_size: 0.01,
        steps: 2,
        warm_up_epochs: 2,
    };
    let folder = tempfile::tempdir().unwrap();
    for (at, (optimiser, every, adversarial)) in [
        // A kill leaves no final checkpoint: only the one after every step, or at the start.
        (Optimiser::Adam, Duration::ZERO, Some(attack)),
        (Optimiser::Sgd { momentum: 0.9 }, Duration::MAX, None),
    ]
    .into_iter()
    .enumerate()
    {
        let settings = Settings {
            epochs: 3,
            batch: 16,
            optimiser,
            adversarial,
            ..settings(Preset::Tutorial)
        };
        let undisturbed = run(&settings, &data, Some(&data)).unwrap();
        let checkpoint = Checkpoint {
            path: folder.path().join(at.to_string()),
            every,
        };
        // 4 steps an epoch: stops in the middle of the first, at the end of the second, and in the third.
        for (stop, steps) in [(2, 2), (6, 6), (1, 1)] {
            let (stopped, taken) = run_until(stop, &settings, &data, &checkpoint);
            assert!(matches!(stopped, Err(Error::Stopped)));
            assert_eq!(taken, steps);
        }
        let (resumed, taken) = run_until(usize::MAX, &settings, &data, &checkpoint);
        let resumed = resumed.unwrap();
        assert_eq!(taken, 3);
        assert_eq!(resumed.history, undisturbed.history);
        assert_eq!(resumed.to_onnx().unwrap(), undisturbed.to_onnx().unwrap());
        // Once more: the training is complete.
        let (again, taken) = run_until(usize::MAX, &settings, &data, &checkpoint);
        assert_eq!(taken, 0);
        assert_eq!(
            again.unwrap().to_onnx().unwrap(),
            resumed.to_onnx().unwrap()
        );
    }
}

#[test]
fn an_end_that_is_asked_for_at_the_last_step_loses_no_epoch() {
    let (data, settings) = (squares(20, 13), settings(Preset::Tutorial));
    let folder = tempfile::tempdir().unwrap();
    let engine = open(Choice::Rten).unwrap();
    for epochs in [1, 2] {
        let settings = Settings {
            epochs,
            ..settings.clone()
        };
        let checkpoint = Checkpoint {
            path: folder.path().join(epochs.to_string()),
            every: Duration::MAX,
        };
        let mut told = Vec::new();
        let train = |told: &mut Vec<Epoch>| {
            train(
                &settings,
                engine.as_ref(),
                &data,
                Some(&data),
                Some(&checkpoint),
                |so_far| match so_far {
                    Progress::Epoch(history) => {
                        *told = history.to_vec();
                        Ok(())
                    }
                    Progress::Step { done, of, .. } if done == of => Err(Error::Stopped),
                    _ => Ok(()),
                },
            )
        };
        assert!(matches!(train(&mut told), Err(Error::Stopped)));
        assert_eq!(told.len(), epochs);
        let resumed = train(&mut Vec::new()).unwrap();
        assert_eq!(resumed.history, told);
    }
}

#[test]
fn a_checkpoint_that_cannot_be_is_refused() {
    let (data, settings) = (squares(20, 13), settings(Preset::Tutorial));
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint {
        path: folder.path().join("c"),
        every: Duration::ZERO,
    };
    let (whole, taken) = run_until(usize::MAX, &settings, &data, &checkpoint);
    whole.unwrap();
    let sound = std::fs::read(&checkpoint.path).unwrap();
    let step = format!("step = {taken}");
    for (old, new) in [
        (&*step, &*step.replace(&taken.to_string(), "9")),
        (&step, &step.replace(&taken.to_string(), "0")),
        ("correct = 0", "correct = 9"),
        ("epoch = 1", "epoch = 7"),
        ("train_accuracy = 0", "train_accuracy = 9"),
        ("\\nloss = ", "\\nloss = -nan #"),
    ] {
        let (old, new) = (old.as_bytes(), new.as_bytes());
        let mut changed = sound.clone();
        let at = sound.windows(old.len()).position(|window| window == old);
        let at = at.unwrap_or_else(|| panic!("there is no {}", String::from_utf8_lossy(old)));
        changed.splice(at..at + old.len(), new.iter().copied());
        // The metadata keep their length: a digit of the padding is dropped.
        let header = u64::from_le_bytes(sound[..8].try_into().unwrap());
        let grown = header + new.len() as u64 - old.len() as u64;
        changed[..8].copy_from_slice(&grown.to_le_bytes());
        std::fs::write(&checkpoint.path, &changed).unwrap();
        let (refused, _) = run_until(usize::MAX, &settings, &data, &checkpoint);
        let refused = refused.map(|_| String::from_utf8_lossy(new).into_owned());
        let refusal = refused.unwrap_err().to_string();
        assert!(refusal.contains("its progress is impossible"), "{refusal}");
    }
}

#[test]
fn a_killed_training_goes_on_from_its_last_checkpoint() {
    let (data, settings) = (squares(50, 13), settings(Preset::Tutorial));
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint {
        path: folder.path().join("checkpoint"),
        every: Duration::ZERO,
    };
    let copy = folder.path().join("copy");
    let engine = open(Choice::Rten).unwrap();
    let mut steps = 0;
    let whole = train(
        &settings,
        engine.as_ref(),
        &data,
        None,
        Some(&checkpoint),
        |told| {
            if let Progress::Step { done: 2, .. } = told {
                // The checkpoint after the first step, as a kill would leave it.
                std::fs::copy(&checkpoint.path, &copy).unwrap();
            }
            Ok(())
        },
    )
    .unwrap();
    std::fs::rename(&copy, &checkpoint.path).unwrap();
    let resumed = train(
        &settings,
        engine.as_ref(),
        &data,
        None,
        Some(&checkpoint),
        |told| {
            steps += usize::from(matches!(told, Progress::Step { .. }));
            if let Progress::TakenUp { done, of } = told {
                assert_eq!((done, of), (1, 4));
            }
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(steps, 3);
    assert_eq!(resumed.to_onnx().unwrap(), whole.to_onnx().unwrap());
}

#[test]
fn a_checkpoint_of_something_else_is_refused() {
    let (data, ours) = (squares(20, 13), settings(Preset::Tutorial));
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint {
        path: folder.path().join("c"),
        every: Duration::MAX,
    };
    let refused = |settings: &Settings, data: &Dataset| {
        let (result, _) = run_until(1, settings, data, &checkpoint);
        result.unwrap_err().to_string()
    };
    assert!(refused(&ours, &data).contains("stopped"));
    let other = Settings {
        learning_rate: 0.5,
        epochs: 9,
        threads: 2,
        ..ours.clone()
    };
    let error = refused(&other, &data);
    assert!(error.contains("\n  epochs: 2 there, 9 now\n  learning rate: 0.002 there, 0.5 now"));
    assert_eq!(error.lines().count(), 3, "{error}");
    let error = refused(&ours, &squares(22, 13));
    assert!(error.contains("\n  pictures: "), "{error}");

    let whole = std::fs::read(&checkpoint.path).unwrap();
    let mut longer = whole.clone();
    longer.extend([0; 8]);
    for broken in [
        &[][..],
        b"not a checkpoint",
        &whole[..whole.len() - 4],
        &longer,
    ] {
        std::fs::write(&checkpoint.path, broken).unwrap();
        let error = refused(&ours, &data);
        assert!(error.contains("delete it to start again"), "{error}");
    }
    #[cfg(unix)]
    {
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, &whole).unwrap();
        std::fs::remove_file(&checkpoint.path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &checkpoint.path).unwrap();
        let error = refused(&ours, &data);
        assert!(error.contains("c is a link"), "{error}");
    }
    let missing = Checkpoint {
        path: folder.path().join("no/folder/c"),
        every: Duration::MAX,
    };
    let (result, taken) = run_until(9, &ours, &data, &missing);
    assert!(matches!(result, Err(Error::Io { .. })) && taken == 0);
}
