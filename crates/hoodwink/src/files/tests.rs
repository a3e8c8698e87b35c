use std::fs;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn said(result: Result<impl Sized>) -> String {
    result.err().expect("it is refused").to_string()
}

#[test]
fn what_is_read_is_a_file_of_bounded_size() {
    let folder = folder();
    let path = folder.path().join("a");
    fs::write(&path, b"0123456789").unwrap();
    assert_eq!(read(&path, 10).unwrap(), b"0123456789");
    assert!(said(read(&path, 9)).contains("larger than 9 bytes"));
    assert_eq!(read_part(&path, 3, 4).unwrap(), b"3456");
    for (offset, length) in [(8, 3), (11, 0), (u64::MAX, 1), (0, 1 << 60)] {
        let refusal = said(read_part(&path, offset, length));
        assert!(refusal.contains("has 10 bytes"), "{refusal}");
    }
    assert!(said(read(folder.path(), 10)).contains("is a folder"));
    let gone = read(&folder.path().join("gone"), 10).unwrap_err();
    assert!(is_missing(&gone) && !gone.to_string().is_empty());
    fs::write(&path, b"\xff").unwrap();
    assert!(said(read_text(&path, 10)).contains("is not UTF-8"));
}

#[test]
fn what_is_written_is_whole_and_replaces_what_is_there() {
    let folder = folder();
    let path = folder.path().join("a");
    for text in ["old", "new and longer"] {
        // Left over from a killed process.
        fs::write(folder.path().join("a.unfinished"), "half").unwrap();
        write(&path, text.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    assert!(said(write(folder.path(), b"x")).contains("is a folder"));
    assert!(is_missing(
        &write(&folder.path().join("gone/a"), b"x").unwrap_err()
    ));
}

#[test]
fn what_is_added_follows_what_is_there() {
    let folder = folder();
    let path = folder.path().join("a");
    for expected in ["one", "oneone"] {
        append(&path, b"one").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }
    assert!(said(append(folder.path(), b"x")).contains("is a folder"));
    assert!(is_missing(
        &append(&folder.path().join("gone/a"), b"x").unwrap_err()
    ));
}

#[test]
fn a_bounded_reader_fails_where_it_would_cut() {
    let all = |limit| {
        let mut text = String::new();
        Bounded::new(&b"12345"[..], limit)
            .read_to_string(&mut text)
            .map(|_| text)
    };
    assert_eq!(all(5).unwrap(), "12345");
    assert!(all(4).is_err());
}

#[test]
fn paths_do_not_leave_their_folder() {
    let folder = folder();
    let at = |relative| inside(folder.path(), relative);
    assert_eq!(at("a/b.png").unwrap(), folder.path().join("a/b.png"));
    for outside in ["", "..", "../a", "a/../b", "/etc/passwd", "./a", "a/"] {
        let refusal = said(at(outside));
        assert!(
            refusal.contains("is not a path inside"),
            "{outside}: {refusal}"
        );
    }
    let path = at("a/b/c.png").unwrap();
    create_parents(folder.path(), &path).unwrap();
    create_parents(folder.path(), &path).unwrap();
    assert!(folder.path().join("a/b").is_dir() && !path.exists());
    let moved = folder.path().join("moved");
    let path = inside(&moved, "a/b").unwrap();
    assert!(is_missing(&create_parents(&moved, &path).unwrap_err()));
}

#[cfg(unix)]
mod links_and_pipes {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    /// A folder with a victim's file and an untrusted folder next to it.
    fn stranger() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let parent = folder();
        let (victim, theirs) = (parent.path().join("victim"), parent.path().join("theirs"));
        fs::write(&victim, "precious").unwrap();
        fs::create_dir(&theirs).unwrap();
        (parent, victim, theirs)
    }

    #[test]
    fn no_write_follows_a_link() {
        let (_parent, victim, theirs) = stranger();
        symlink(&victim, theirs.join("report.html.unfinished")).unwrap();
        let refusal = said(write(&theirs.join("report.html"), b"x"));
        assert!(
            refusal.contains("report.html.unfinished is in the way"),
            "{refusal}"
        );
        assert!(!theirs.join("report.html").exists());

        symlink(&victim, theirs.join("timing.json")).unwrap();
        write(&theirs.join("timing.json"), b"new").unwrap();
        assert!(!theirs.join("timing.json").is_symlink());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

        symlink("/dev/null", theirs.join("null")).unwrap();
        assert!(said(write(&theirs.join("null"), b"x")).contains("a device"));
        assert!(theirs.join("null").is_symlink());
    }

    #[test]
    fn nothing_inside_a_folder_may_be_a_link() {
        let (parent, _, theirs) = stranger();
        symlink("../victim", theirs.join("command.txt")).unwrap();
        symlink(parent.path(), theirs.join("pictures")).unwrap();
        symlink("nowhere", theirs.join("dangling")).unwrap();
        for relative in [
            "command.txt",
            "pictures/victim",
            "pictures/new/a.png",
            "dangling",
        ] {
            let refusal = said(inside(&theirs, relative));
            assert!(refusal.contains("is a link"), "{refusal}");
        }
        assert!(said(unlinked(&theirs.join("dangling"))).contains("is a link"));
        unlinked(&theirs).unwrap();
        unlinked(&theirs.join("gone")).unwrap();
        // The folder itself may be a link, because the user named it.
        symlink(&theirs, parent.path().join("short")).unwrap();
        inside(&parent.path().join("short"), "run.toml").unwrap();
    }

    #[test]
    fn pipes_and_devices_are_refused_without_waiting() {
        let (_parent, _, theirs) = stranger();
        let pipe = theirs.join("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        symlink("/dev/zero", theirs.join("zero")).unwrap();
        for path in [pipe.clone(), theirs.join("zero")] {
            assert!(said(read(&path, 10)).contains("a pipe, a device"));
            assert!(said(read_part(&path, 0, 1)).contains("a pipe, a device"));
        }
        assert!(said(write(&pipe, b"x")).contains("a pipe, a device"));
    }
}
