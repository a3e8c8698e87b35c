use super::*;

#[test]
fn files_say_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let zip = |names: &str| [b"PK\x03\x04...", names.as_bytes()].concat();
    let onnx = |rest: &[u8]| [b"\x08\x08\x12\x07pytorch", rest].concat();
    let safetensors = [&8_u64.to_le_bytes()[..], b"{}      data"].concat();
    for (name, bytes, says) in [
        (
            "a.pt",
            zip("archive/data.pkl archive/data/0"),
            "a PyTorch file of weights",
        ),
        (
            "a.pth",
            b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80".to_vec(),
            "torch.onnx.export(model.eval()",
        ),
        (
            "b.onnx",
            zip("x/data.pkl x/code/__torch__.py x/constants.pkl"),
            "a TorchScript model; export it with: python -c",
        ),
        (
            "a.pt2",
            zip("archive_format models/model.json"),
            "torch.export",
        ),
        (
            "a.safetensors",
            safetensors,
            "optimum-cli export onnx --model",
        ),
        (
            "a.h5",
            b"\x89HDF\r\n\x1a\nrest".to_vec(),
            "python -m tf2onnx.convert --keras",
        ),
        (
            "a.keras",
            zip("config.json metadata.json model.weights.h5"),
            "--keras",
        ),
        ("a.tflite", b"\x1c\0\0\0TFL3rest".to_vec(), "--tflite"),
        (
            "a.ort",
            b"\x1c\0\0\0ORTMrest".to_vec(),
            "ONNX Runtime's own format",
        ),
        ("a.engine", b"ftrt\0\0".to_vec(), "TensorRT"),
        ("b.engine", b"\0\0\0".to_vec(), "TensorRT"),
        ("a.mlmodel", b"\x08\x01\x12\x02".to_vec(), "Core ML"),
        (
            "a.xml",
            b"<?xml version=\"1.0\"?>\n<net name=\"a\" version=\"11\">".to_vec(),
            "OpenVINO",
        ),
        ("saved_model.pb", b"\x08\x01".to_vec(), "--saved-model"),
        ("a.pb", b"\x0a\x05".to_vec(), "--graphdef"),
        ("a.pkl", b"\x80\x04\x95abc.".to_vec(), "a Python pickle"),
        (
            "c.onnx",
            b"\n<!DOCTYPE html>\n<title>".to_vec(),
            "a web page (HTML)",
        ),
        (
            "d.onnx",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 123\n".to_vec(),
            "a Git LFS pointer to a file of 123 bytes; fetch the file itself: git lfs pull --include",
        ),
        (
            "e.onnx",
            b"../../.git/annex/objects/xx".to_vec(),
            "git annex get",
        ),
        (
            "f.onnx",
            zip("dir/model.onnx"),
            "a zip archive with an ONNX file in it; unpack it: unzip",
        ),
        ("g.onnx", zip("readme.txt"), "without an ONNX file"),
        ("g2.onnx", zip("x.npy y.npy"), "an archive of NumPy arrays"),
        (
            "g3.onnx",
            b"<HTML><title>caf\xe9".to_vec(),
            "a web page (HTML)",
        ),
        ("g.tar.gz", b"\x1f\x8b\x08".to_vec(), "tar xf"),
        ("g.gz", b"\x1f\x8b\x08".to_vec(), "gunzip"),
        ("h.onnx", Vec::new(), "is empty (0 bytes)"),
        (
            "i.onnx",
            b"{\"error\": \"Entry not found\"}".to_vec(),
            "text that begins with",
        ),
        (
            "j.onnx",
            b"\x89PNG\r\n".to_vec(),
            "a picture; the model comes first",
        ),
        ("j.npy", b"\x93NUMPY".to_vec(), "the model comes first"),
        (
            "k.onnx",
            onnx(b"\x3a\xff\x01rest"),
            "truncated: it has 18 of at least 269",
        ),
        ("k2.onnx", onnx(b"\x3a\xff"), "is truncated"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = refuse(&path).expect_err(name).to_string();
        assert!(error.contains(says), "{name}: {error}");
        assert!(
            error.contains(name) && !error.contains('\n'),
            "{name}: {error}"
        );
    }
    for (name, bytes) in [
        ("l.onnx", onnx(b"\x3a\x04rest")),
        ("m.onnx", onnx(b"")),
        ("n.onnx", b"\x3a\x04rest\x08\x08".to_vec()),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert!(refuse(&path).is_ok(), "{name}");
    }
    assert!(refuse(&folder.path().join("nowhere.onnx")).is_ok());
    for (name, says) in [
        (
            "microsoft/resnet-50",
            "optimum-cli export onnx --model microsoft/resnet-50 resnet-50",
        ),
        (
            "timm/resnet18.a1_in1k",
            "timm.create_model('resnet18.a1_in1k', pretrained=True)",
        ),
        (
            "https://example.org/net.onnx",
            "nothing is downloaded: https://example.org/net.onnx",
        ),
    ] {
        let error = refuse(Path::new(name)).unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("nothing is downloaded"),
            "{error}"
        );
    }
    for name in ["src/nowhere", "nowhere/net.onnx", "a/b/c", "nowhere"] {
        assert!(refuse(Path::new(name)).is_ok(), "{name}");
    }
}

#[test]
fn folders_say_what_they_hold() {
    for (files, says) in [
        (&["saved_model.pb"][..], "--saved-model"),
        (&["b.onnx", "a.onnx"], "such as"),
        (
            &["config.json", "model.safetensors"],
            "optimum-cli export onnx",
        ),
        (&["cat.png"], "a folder without an ONNX file"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), "{}").unwrap();
        }
        let error = refuse(folder.path()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
