use super::*;
use crate::image::Picture;
use crate::lint::Mistake;
use crate::results::example::{
    already_wrong, fooled, fooled_at, robust, run, smallest_run, unbroken,
};
use crate::results::{AttackRecord, FindingRecord, NoiseSeen, Row, Run, Seen, Timing};

/// An 8×8 picture of one colour but for its last row, which is a little brighter by `change`.
fn picture(colour: u8, change: u8) -> Picture {
    let bytes = (0..192).map(|at| if at < 168 { colour } else { colour + change });
    Picture::new(3, 8, 8, bytes.collect()).unwrap()
}

/// A run folder in which PGD fools samples 0 and 1 at 8/255, and sample 2 is wrong from the start.
fn folder(path: &std::path::Path, run: &Run) -> RunFolder {
    let folder = RunFolder::create(path, run).unwrap();
    let mut rows: Vec<Row> = Vec::new();
    for eps in ["4/255", "8/255"] {
        let by_pgd = if eps == "8/255" { fooled } else { robust };
        rows.extend([0, 1].map(|index| by_pgd(index, "pgd", eps)));
        rows.push(already_wrong(2, "pgd", eps));
        rows.extend([0, 1].map(|index| robust(index, "fgsm", eps)));
        rows.push(already_wrong(2, "fgsm", eps));
    }
    for row in &mut rows {
        row.noise = None;
    }
    for row in rows.iter_mut().filter(|row| row.index == 0) {
        row.file = "<img src=x onerror=alert(1)>.png".into();
    }
    for row in &rows {
        if let Some(path) = &row.picture {
            folder.write_picture(path, &picture(100, 8)).unwrap();
        }
        let original = RunFolder::original(row.index);
        folder.write_picture(&original, &picture(100, 0)).unwrap();
    }
    for sample in 0..3 {
        let of_sample = rows.iter().filter(|row| row.index == sample);
        folder.keep(&Vec::from_iter(of_sample.cloned())).unwrap();
    }
    let (chosen, _) = shown(&folder).unwrap();
    let noise = chosen.iter().take(1).map(|row| NoiseSeen::of(row, star()));
    folder.write_noise(&Vec::from_iter(noise)).unwrap();
    folder.write_timing(&Timing::default()).unwrap();
    folder.write_command("hoodwink 'a & b'").unwrap();
    folder
}

fn star() -> Seen {
    Seen {
        label: 2,
        confidence: 0.3,
    }
}

fn report(run: &Run) -> String {
    let parent = tempfile::tempdir().unwrap();
    let path = write(&folder(parent.path(), run)).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_report_states_the_result() {
    let html = report(&run(3));
    let text = html.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Accuracy falls from <b class=\"right\">66.7%</b> to <b class=\"right\">0.0%</b> under pgd at eps&nbsp;8/255.",
        "Measured on 3 pictures.",
        // scipy.stats.binomtest(0, 3).proportion_ci(method="exact")
        "<strong>0.0–70.8%</strong>",
        "still right 0.0%",
        "fooled 66.7%",
        "wrong from the start 33.3%",
        "8/255 ×",
        "circle",
        "pgd(loss = cross-entropy)",
        "the label under the perturbation is its answer to the perturbation alone",
        "Perturbation of sample 0; the model says: star",
        "alt=\"Perturbation of sample 1\"",
        "Sample 0, true class circle.",
    ] {
        assert!(text.contains(part), "{part}");
    }
    // Both fooled samples, each with its original, perturbation and adversarial picture; the first of them a second
    // time as key stages; and all three as thumbnails.
    assert_eq!(html.matches("<img ").count(), 2 * 3 + 3 + 3);
    assert_eq!(html.matches("<figure class=\"example\">").count(), 2);
}

#[test]
fn the_report_needs_nothing_from_outside_and_describes_every_picture() {
    let html = report(&run(3));
    for outside in ["http:", "https:", "<script", "<link", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    for picture in html.split("<img ").skip(1) {
        let tag = &picture[..picture.find('>').unwrap()];
        assert!(
            tag.contains("src=\"data:image/png;base64,")
                || tag.contains("src=\"data:image/jpeg;base64,")
        );
        assert!(tag.contains("alt=\"") && !tag.contains("alt=\"\""));
    }
}

#[test]
fn what_users_wrote_is_escaped() {
    let mut run = run(3);
    run.model.path = "<script>alert(1)</script>.onnx".into();
    run.data.class_names[0] = "\"><script>".into();
    let html = report(&run);
    assert!(!html.contains("<script"));
    assert!(!html.contains("<img src=x"));
    assert!(html.contains("a &#38; b") || html.contains("a &amp; b"));
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    assert_eq!(report(&run(3)), report(&run(3)));
}

#[test]
fn an_unfinished_run_has_a_report_that_says_so() {
    let html = report(&run(200));
    assert!(html.contains("197 of 200 pictures are missing"));
    assert!(
        html.contains("<title>model.onnx: robustness report (3 of 200 pictures so far)</title>")
    );
    assert!(html.contains("<h1><span class=\"so-far\">3 of 200 pictures so far</span> Accuracy"));
    let parent = tempfile::tempdir().unwrap();
    let empty = RunFolder::create(parent.path(), &run(200)).unwrap();
    let html = std::fs::read_to_string(write(&empty).unwrap()).unwrap();
    assert!(html.contains("Nothing has been measured yet."));
    assert!(!html.contains("NaN"));
}

#[test]
fn the_headline_says_which_part_it_is_of() {
    let mut part = run(6);
    part.partition = Some("1/2".parse().unwrap());
    let html = report(&part);
    assert!(html.contains("<h1><span class=\"so-far\">part 1/2</span> Accuracy"));
    assert!(html.contains("robustness report (part 1/2)</title>"));
    let html = report(&run(3));
    assert!(!html.contains("<span class=\"so-far\">"));
    assert!(html.contains("<title>model.onnx: robustness report</title>"));
}

#[test]
fn a_picture_that_is_missing_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let folder = folder(parent.path(), &run(3));
    std::fs::remove_file(parent.path().join("pictures/1.png")).unwrap();
    let message = write(&folder).unwrap_err().to_string();
    assert!(message.contains("1.png"), "{message}");
}

#[test]
fn a_comparison_shows_every_run_and_refuses_other_pictures() {
    let parent = tempfile::tempdir().unwrap();
    let run = run(3);
    let page = parent.path().join("index.html");
    let named = |name: &str, run: &Run| {
        let path = parent.path().join(name);
        std::fs::create_dir(&path).unwrap();
        (name.to_owned(), folder(&path, run))
    };
    let first = named("plain & simple", &run);
    write(&first.1).unwrap();
    let mut other = run.clone();
    other.model.path = "<robust>.onnx".into();
    let second = named("robust", &other);
    compare(&[first, second], &page).unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    for part in [
        "plain &#38; simple",
        "href=\"plain &#38; simple/report.html\"",
        "&#60;robust&#62;.onnx",
        "8/255",
        "circle",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // Two fooled samples, each as it is and as either model was attacked with it.
    assert_eq!(html.matches("<img ").count(), 6);
    assert!(!html.contains("NaN") && !html.contains("http"));

    let mut elsewhere = run.clone();
    elsewhere.data.digest = "other".into();
    let pair = [named("a", &run), named("b", &elsewhere)];
    let message = compare(&pair, &page).unwrap_err().to_string();
    assert!(
        message.contains("b was run on other pictures than a"),
        "{message}"
    );
    assert!(compare(&pair[..1], &page).is_err());
}

/// Two attacks of one name that looked for the smallest distance: the first breaks two of four pictures, the second
/// one.
fn smallest(path: &std::path::Path) -> RunFolder {
    let mut run = smallest_run(5);
    let recipe = |steps| format!("ddn(steps={steps}, loss=ce)");
    run.attacks = [1000, 20]
        .map(|steps| AttackRecord {
            name: "ddn".into(),
            recipe: recipe(steps),
        })
        .into();
    let folder = RunFolder::create(path, &run).unwrap();
    let mut rows = vec![already_wrong(0, "ddn", "1"), already_wrong(0, "ddn", "1")];
    for index in 1..5 {
        rows.push(match index {
            4 => unbroken(index),
            _ => fooled_at(index, 0.0625 * index as f64),
        });
        rows.push(match index {
            1 => fooled_at(index, 0.25),
            _ => unbroken(index),
        });
    }
    for (at, row) in rows.iter_mut().enumerate() {
        (row.eps, row.noise) = (None, None);
        row.recipe = recipe(if at % 2 == 0 { 1000 } else { 20 });
        let key = run.key_of(&row.recipe).unwrap();
        let path = RunFolder::adversarial(&key, None, row.index);
        row.picture = row.picture.take().map(|_| path);
        if let Some(path) = &row.picture {
            folder.write_picture(path, &picture(100, 2)).unwrap();
        }
        let original = RunFolder::original(row.index);
        folder.write_picture(&original, &picture(100, 0)).unwrap();
    }
    folder.write_part(0, &rows).unwrap();
    folder
}

#[test]
fn a_report_without_eps_tells_distances() {
    let parent = tempfile::tempdir().unwrap();
    let folder = smallest(parent.path());
    let html = std::fs::read_to_string(write(&folder).unwrap()).unwrap();
    let text = html.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        // 0.0625, 0.125, 0.1875 and infinity
        "Half of the pictures that the model gets right are fooled within <b class=\"wrong\">L2 0.156</b> by ddn(steps=1000).",
        "A tenth is fooled within 0.081, nine tenths within ∞; 1 of 4 withstood. Accuracy is 80.0% before the attack and 20.0% where any distance is allowed. The 95%",
        "Accuracy against distance",
        "ddn(steps=20)",
        "<code>ddn(steps=20, loss=ce)</code>",
        "ddn(steps=1000).</p>",
        "at any distance, under all attacks together",
        "L2, the smallest distance",
    ] {
        assert!(text.contains(part), "{part}");
    }
    for part in ["at eps", "NaN", ">inf", "noise alone", "None"] {
        assert!(!text.contains(part), "{part}");
    }
    // Three fooled samples of one class, the first of them as key stages, and all five as thumbnails.
    assert_eq!(html.matches("<img ").count(), 3 * 3 + 3 + 5);
    let chosen: Vec<u64> = shown(&folder)
        .unwrap()
        .0
        .iter()
        .map(|row| row.index)
        .collect();
    assert_eq!(chosen, [1, 2, 3]);
}

#[test]
fn what_is_never_broken_is_said_to_be() {
    let parent = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(parent.path(), &smallest_run(2)).unwrap();
    let rows = [unbroken(0), unbroken(1)];
    for row in &rows {
        let path = row.picture.as_ref().unwrap();
        folder.write_picture(path, &picture(100, 2)).unwrap();
        folder.keep(std::slice::from_ref(row)).unwrap();
    }
    let html = std::fs::read_to_string(write(&folder).unwrap()).unwrap();
    let headline = "Of the pictures that the model gets right, ddn fools only <b class=\"wrong\">0.0%</b> at any distance.";
    assert!(html.contains(headline));
    assert!(!html.contains("NaN"));
}

#[test]
fn runs_without_eps_are_compared_by_their_distances() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| (name.to_owned(), smallest(&parent.path().join(name)));
    let page = parent.path().join("index.html");
    compare(&[at("a"), at("b")], &page).unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    for part in [
        "is fooled within <b class=\"name\">L2 0.156</b>",
        "median L2 ∞ (10%: ∞, 90%: ∞), unbroken 3 of 4",
        "attacked by ddn(steps=1000) against",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("eps&nbsp;") && !html.contains("NaN"));

    let with_eps = parent.path().join("c");
    std::fs::create_dir(&with_eps).unwrap();
    let mut run = run(3);
    run.threat.norm = "l2".into();
    let mixed = [
        at("d"),
        ("c".to_owned(), RunFolder::create(with_eps, &run).unwrap()),
    ];
    let refusal = compare(&mixed, &page).unwrap_err().to_string();
    assert!(refusal.contains("no eps in common"), "{refusal}");
}

fn finding(mistake: Mistake) -> FindingRecord {
    FindingRecord {
        mistake,
        saw: "with a mean taken off 92% are right, with this 37%, as in /home/me/x.png".into(),
        matters: "all figures would be of a crippled model".into(),
        remedy: "--mean 0.5".into(),
    }
}

#[test]
fn findings_travel_to_report_and_comparison() {
    let parent = tempfile::tempdir().unwrap();
    let mut doubtful = run(3);
    doubtful.findings = Some(vec![finding(Mistake::Preprocessing)]);
    let named = |name: &str, run: &Run| {
        let path = parent.path().join(name);
        std::fs::create_dir(&path).unwrap();
        (name.to_owned(), folder(&path, run))
    };
    let pair = [named("a", &doubtful), named("b", &run(3))];
    let html = std::fs::read_to_string(write(&pair[0].1).unwrap()).unwrap();
    let verdict = "<span class=\"so-far no-result\">No result: the preprocessing looks wrong.</span> Accuracy falls";
    let text = html.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(verdict));
    for part in [
        "With a mean taken off 92% are right, with this 37%, as in x.png; all figures would be of a crippled model. Try: --mean 0.5",
        "title=\"the preprocessing looks wrong\"",
        "yes, 1 finding",
    ] {
        assert!(text.contains(part), "{part}");
    }
    // Beside each of four figures under attack and of two under all together.
    assert_eq!(html.matches("<abbr class=\"doubt\"").count(), 6);
    let sound = std::fs::read_to_string(write(&pair[1].1).unwrap()).unwrap();
    assert!(!sound.contains("No result") && !sound.contains("<abbr"));

    let page = parent.path().join("index.html");
    compare(&pair, &page).unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    assert_eq!(
        html.matches("No result: the preprocessing looks wrong")
            .count(),
        1
    );
    assert_eq!(html.matches("<abbr class=\"doubt\"").count(), 4);
    assert!(html.contains("a: With a mean taken off"));
}

#[test]
fn nothing_is_drawn_where_nothing_was_measured() {
    let html = report(&run(3));
    let chart = |html: &str| {
        let from = html.find("id=\"accuracy-title\"").unwrap();
        html[from..from + html[from..].find("</svg>").unwrap()].to_owned()
    };
    let points = chart(&html);
    assert!(points.contains("<circle") && !points.contains("class=\"line\""));
    let mut swept = run(3);
    swept.threat.sweep = Some("0..8/255".into());
    let html = report(&swept);
    assert!(chart(&html).contains("class=\"line\""));
    assert!(html.contains("L∞ ≤ 0..8/255"));
}

#[test]
fn a_targeted_run_names_both_rates_and_leaves_the_target_class_out() {
    let parent = tempfile::tempdir().unwrap();
    let mut run = run(3);
    run.threat.goal = "targeted: 1".into();
    run.threat.eps = vec!["8/255".into()];
    run.attacks.truncate(1);
    let aimed = |index| Row {
        target: Some(1),
        noise: None,
        ..fooled(index, "pgd", "8/255")
    };
    let star = Seen {
        label: 1,
        confidence: 0.5,
    };
    let of_target = Row {
        label: 1,
        clean: star,
        noise: None,
        ..already_wrong(2, "pgd", "8/255")
    };
    let folder = RunFolder::create(parent.path(), &run).unwrap();
    for row in [aimed(0), aimed(1), of_target] {
        if let Some(path) = &row.picture {
            folder.write_picture(path, &picture(100, 8)).unwrap();
        }
        let original = RunFolder::original(row.index);
        folder.write_picture(&original, &picture(100, 0)).unwrap();
        folder.keep(&[row]).unwrap();
    }
    let html = std::fs::read_to_string(write(&folder).unwrap()).unwrap();
    let text = html.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "still right 0.0%",
        "Of the 2 attacked pictures, 100.0% are <strong>no longer right</strong> and 100.0% are <strong>classified as the target</strong>.",
        "<td data-label=\"attacked\">2 of 2</td>",
        "1 picture of the target class is left out: there is nothing to attack.",
        "targeted: square",
        "Target class, not counted: 1",
        "target square",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn no_absolute_path_stands_in_the_page() {
    let parent = tempfile::tempdir().unwrap();
    let mut run = run(3);
    run.model.path = "/home/me/models/model.onnx".into();
    run.data.path = "/data/pictures".into();
    let folder = folder(parent.path(), &run);
    folder
        .write_command("hoodwink attack /home/me/models/model.onnx /data/pictures --out /tmp/x")
        .unwrap();
    let html = std::fs::read_to_string(write(&folder).unwrap()).unwrap();
    assert!(html.contains("<title>model.onnx: robustness report</title>"));
    assert!(html.contains("hoodwink attack model.onnx pictures --out x"));
    for root in ["/home", "/data/", "/tmp"] {
        assert!(!html.contains(root), "{root}");
    }
}

#[test]
fn what_is_right_is_not_red() {
    let parent = tempfile::tempdir().unwrap();
    let folder = folder(parent.path(), &run(3));
    let mut rows = folder.rows().unwrap();
    rows.retain(|row| row.index == 1 && row.attack == "pgd" && row.eps_text() == Some("8/255"));
    let mut row = rows.remove(0);
    let saved = row.saved.as_mut().unwrap();
    (saved.success, saved.seen) = (false, row.clean);
    let stories = gallery::Stories::of(std::slice::from_ref(&row));
    let example = gallery::example(&folder, &stories, &row, &[])
        .unwrap()
        .unwrap();
    assert_eq!(example.adversarial.colour, "right");
    assert!(example.verdict.contains("is right about the saved PNG"));
    assert_eq!(example.original.colour, "right");
    assert_eq!(
        (&*example.size, &*example.truth),
        ("8/255", "true class circle")
    );
}

#[test]
fn every_picture_is_reachable_and_a_page_stays_small() {
    let parent = tempfile::tempdir().unwrap();
    let mut run = run(1200);
    run.threat.eps = vec!["8/255".into()];
    run.attacks.truncate(1);
    run.model.input = [3, 32, 32];
    let folder = RunFolder::create(parent.path(), &run).unwrap();
    // Noise is the worst that a picture can be.
    let mut state = 1_u32;
    let mut noise = || {
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        Picture::new(3, 32, 32, (0..3072).map(next).collect()).unwrap()
    };
    for part in folder.parts() {
        let rows: Vec<Row> = folder
            .samples_of_part(part)
            .map(|index| match index % 3 {
                0 => fooled(index, "pgd", "8/255"),
                1 => robust(index, "pgd", "8/255"),
                _ => already_wrong(index, "pgd", "8/255"),
            })
            .map(|row| Row { noise: None, ..row })
            .collect();
        for row in &rows {
            let original = RunFolder::original(row.index);
            folder.write_picture(&original, &noise()).unwrap();
            if let Some(path) = &row.picture {
                folder.write_picture(path, &noise()).unwrap();
            }
        }
        folder.write_part(part, &rows).unwrap();
    }
    write(&folder).unwrap();
    let mut pages = vec!["report.html".to_owned()];
    pages.extend(
        (2..)
            .map(|n| format!("pictures-{n}.html"))
            .take_while(|name| parent.path().join(name).exists()),
    );
    assert!(pages.len() > 2, "{pages:?}");
    let mut linked = 0;
    for page in &pages {
        let html = std::fs::read_to_string(parent.path().join(page)).unwrap();
        assert!(html.len() < 2_000_000, "{page}: {}", html.len());
        assert!(!html.contains("<script") && !html.contains("http"));
        for other in pages.iter().filter(|other| *other != page) {
            assert!(
                html.contains(&format!("href=\"{other}\"")),
                "{page} to {other}"
            );
        }
        for link in html.split("<figcaption><a href=\"").skip(1) {
            let file = &link[..link.find('"').unwrap()];
            assert!(parent.path().join(file).is_file(), "{file}");
            linked += 1;
        }
    }
    assert_eq!(linked, 1200);
}

#[test]
fn charts_and_panels_are_exported_as_svg_and_png() {
    let parent = tempfile::tempdir().unwrap();
    let folder = folder(&parent.path().join("run"), &run(3));
    let into = parent.path().join("figures/of/it");
    let names = |paths: &[PathBuf]| -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        paths.iter().map(name).collect()
    };
    let written = export(&folder, &into).unwrap();
    let expected = [
        "accuracy.svg",
        "accuracy.png",
        "loss-1.svg",
        "loss-1.png",
        "loss-2.svg",
        "loss-2.png",
        "panel-000000.svg",
        "panel-000000.png",
        "panel-000001.svg",
        "panel-000001.png",
    ];
    assert_eq!(names(&written), expected);
    for path in &written {
        let bytes = std::fs::read(path).unwrap();
        if path.extension().is_some_and(|end| end == "png") {
            assert!(Picture::decode(&bytes, "figure.png").unwrap().width() > 400);
            continue;
        }
        let svg = String::from_utf8(bytes).unwrap();
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("var("));
    }
    let panel = std::fs::read_to_string(into.join("panel-000000.svg")).unwrap();
    assert_eq!(panel.matches("<image ").count(), 3);
    for part in [
        ">8/255 ×</text>",
        ">circle</text>",
        ">square</text>",
        ">star</text>",
        "Sample 0, true class circle; pgd at eps 8/255; L∞ 8/255",
    ] {
        assert!(panel.contains(part), "{part} in {panel}");
    }

    let pair = ["a", "b"].map(|name| {
        let path = parent.path().join(name);
        (name.to_owned(), super::tests::folder(&path, &run(3)))
    });
    let written = export_comparison(&pair, &into.join("both")).unwrap();
    assert_eq!(names(&written), ["accuracy.svg", "accuracy.png"]);
    let svg = std::fs::read_to_string(&written[0]).unwrap();
    assert!(svg.contains(">a</text>") && svg.contains(">b</text>"));
}
