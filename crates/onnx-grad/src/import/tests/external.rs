//! External weights.

use std::path::{Path, PathBuf};

use prost::Message;

use super::{model, value};
use crate::{
    Error, LoadOptions, Loaded, Result, Tensor,
    import::{parse, seal_bytes},
    proto::{DataLocation, DataType, StringStringEntryProto, TensorProto},
    testing::{Program, shape},
};

/// A folder that is removed after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let unique = format!("onnx-grad-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(folder.join("model")).unwrap();
        Self(folder)
    }

    fn home(&self) -> PathBuf {
        self.0.join("model")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An initialiser with external data, described by `data`.
fn elsewhere(name: &str, dims: &[i64], data: &[(&str, &str)]) -> TensorProto {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    };
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: DataType::Float.into(),
        data_location: DataLocation::External.into(),
        external_data: data.iter().map(entry).collect(),
        ..TensorProto::default()
    }
}

/// `x + w`, with additional initialisers.
fn read(home: Option<&Path>, weights: Vec<TensorProto>) -> Result<Loaded> {
    let mut file = model(13, "N 2", "y = Add(x, w)");
    let graph = file.graph.as_mut().expect("the model has a graph");
    graph.initializer.extend(weights);
    parse(&file.encode_to_vec(), home)
}

fn refused(result: Result<Loaded>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn weights_beside_the_model_stay_in_its_folder() {
    let folder = Folder::new("weights");
    let home = folder.home();
    let floats = [9.0_f32, 0.5, -0.5];
    let bytes: Vec<u8> = floats.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(home.join("weights.bin"), &bytes).unwrap();
    std::fs::write(folder.0.join("secret.bin"), &bytes).unwrap();
    let at = |location: &str, offset: &str| {
        let data = [("location", location), ("offset", offset)];
        vec![elsewhere("w", &[2], &data)]
    };
    let loaded = read(Some(&home), at("weights.bin", "4")).unwrap();
    let x = Tensor::f32([2, 2], vec![0.0; 4]).unwrap();
    let y = Program::new(&loaded.graph).run(&[x]).remove(0);
    assert_eq!(y.as_f32().unwrap(), [0.5, -0.5, 0.5, -0.5]);

    for (location, offset, says) in [
        (
            "weights.bin",
            "8",
            "has 12 bytes; 8 bytes from offset 8 are needed",
        ),
        ("weights.bin", "18446744073709551615", "weights.bin"),
        ("gone.bin", "0", "gone.bin"),
        ("../secret.bin", "0", "outside"),
        ("/etc/passwd", "0", "outside"),
        ("", "0", "is a folder, not a file"),
        ("weights.bin", "x", "has the invalid offset \"x\""),
        ("weights.bin", "-4", "has the invalid offset \"-4\""),
    ] {
        let error = refused(read(Some(&home), at(location, offset)));
        assert!(
            error.contains(says) && error.contains("\"w\""),
            "{location}: {error}"
        );
    }
    let error = refused(read(None, at("weights.bin", "0")));
    assert!(error.contains("load it by its path"), "{error}");
    let long = [("location", "weights.bin"), ("length", "12")];
    let error = refused(read(Some(&home), vec![elsewhere("w", &[2], &long)]));
    assert!(error.contains("needs 8 bytes"), "{error}");
    let nowhere = read(Some(&home), vec![elsewhere("w", &[2], &[])]);
    assert!(matches!(nowhere, Err(Error::Invalid(_))));
}

/// Neither file is read: a pipe would block, and the length of the large file is known in advance.
#[cfg(unix)]
#[test]
fn what_cannot_be_a_model_is_refused_before_it_is_read() {
    let folder = Folder::new("models");
    let home = folder.home();
    let made = std::process::Command::new("mkfifo")
        .arg(home.join("pipe.onnx"))
        .status();
    assert!(made.unwrap().success());
    let large = std::fs::File::create(home.join("large.onnx")).unwrap();
    large.set_len(1 << 40).unwrap();
    for (path, says) in [
        (home.join("pipe.onnx"), "is a pipe"),
        ("/dev/zero".into(), "a device"),
        (home.clone(), "is a folder, not a file"),
        (home.join("large.onnx"), "larger than 2 GiB"),
        (home.join("gone.onnx"), "No such file"),
    ] {
        let options = LoadOptions::default();
        let errors = [
            crate::load(&path).err(),
            crate::seal(&path, &options).err(),
            crate::inspect::inspect(&path, &options).err(),
        ];
        for error in errors {
            let error = error.unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

#[cfg(unix)]
#[test]
fn links_folders_and_pipes_are_no_files_of_weights() {
    let folder = Folder::new("pipes");
    let home = folder.home();
    std::fs::write(folder.0.join("secret.bin"), [0; 8]).unwrap();
    std::os::unix::fs::symlink(folder.0.join("secret.bin"), home.join("link")).unwrap();
    std::fs::create_dir(home.join("folder")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(home.join("pipe"))
        .status();
    assert!(made.unwrap().success());
    for (location, says) in [
        ("link", "outside"),
        ("folder", "is a folder, not a file"),
        // Opening it would block forever.
        ("pipe", "is a pipe"),
    ] {
        let weight = elsewhere("w", &[2], &[("location", location)]);
        let error = refused(read(Some(&home), vec![weight]));
        assert!(
            error.contains(says) && error.contains("\"w\""),
            "{location}: {error}"
        );
    }
}

#[test]
fn one_part_of_a_file_cannot_be_read_until_the_memory_is_full() {
    let folder = Folder::new("again");
    let home = folder.home();
    let data = [("location", "weights.bin")];
    // Eight gigabytes, none of which is on the disk.
    let file = std::fs::File::create(home.join("weights.bin")).unwrap();
    file.set_len(1 << 33).unwrap();
    let weights = (0..3).map(|at| elsewhere(&format!("w{at}"), &[1 << 31], &data));
    let error = refused(read(Some(&home), weights.collect()));
    assert!(
        error.contains("\"w2\"") && error.contains("16 GiB"),
        "{error}"
    );
}

/// The bytes of a model with a recurrent node, some of whose weights are external.
fn recurrent(weights: Vec<TensorProto>) -> Vec<u8> {
    let mut file = model(13, "N 2", "y = LSTM(x, w)");
    let graph = file.graph.as_mut().expect("the model has a graph");
    graph.output = vec![value("y", "N 3")];
    graph.initializer.extend(weights);
    file.encode_to_vec()
}

#[test]
fn a_sealed_file_holds_its_weights_and_names_no_other() {
    let folder = Folder::new("sealed");
    let home = folder.home();
    std::fs::write(home.join("weights.bin"), [7; 12]).unwrap();
    std::fs::write(folder.0.join("secret.bin"), [7; 12]).unwrap();
    let inside = TensorProto {
        raw_data: Some(vec![7; 8]),
        external_data: Vec::new(),
        data_location: 0,
        ..elsewhere("w", &[2], &[])
    };
    let outside = |location| elsewhere("w", &[2], &[("location", location), ("offset", "4")]);
    let seal = |weights, folder| seal_bytes(&recurrent(weights), folder, &LoadOptions::default());

    let sealed = seal(vec![outside("weights.bin")], Some(&home)).unwrap();
    assert_eq!(sealed.bytes, seal(vec![inside], None).unwrap().bytes);
    assert_eq!(
        (&*sealed.input, &*sealed.output, sealed.eats_bytes),
        ("x", "y", false)
    );
    assert_eq!(sealed.shape, shape("N 2"));

    for location in ["../secret.bin", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"] {
        let error = seal(vec![outside(location)], Some(&home)).unwrap_err();
        assert!(error.to_string().contains("\"w\""), "{location}: {error}");
    }
    // External data is found wherever a tensor may occur, even if the import would not look there.
    let field = |number: u8, content: Vec<u8>| {
        let mut bytes = vec![number << 3 | 2, content.len() as u8];
        bytes.extend(content);
        bytes
    };
    // A tensor in a list attribute, of a node, of the graph.
    let tensor = outside("weights.bin").encode_to_vec();
    let hidden = field(7, field(1, field(5, field(10, tensor))));
    let with_node = [recurrent(Vec::new()), hidden].concat();
    let sealed = seal_bytes(&with_node, Some(&home), &LoadOptions::default()).unwrap();
    let again = seal_bytes(&sealed.bytes, None, &LoadOptions::default()).unwrap();
    assert_eq!(again.bytes, sealed.bytes);
    let sevens = sealed.bytes.windows(8).filter(|bytes| **bytes == [7; 8]);
    assert_eq!(sevens.count(), 1);
    assert!(!sealed.bytes.windows(7).any(|bytes| bytes == b"weights"));
}
