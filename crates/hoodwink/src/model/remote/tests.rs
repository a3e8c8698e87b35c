use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;

const SHAPE: [usize; 3] = [1, 1, 2];

/// A server on the loopback that answers every request by a function of how many came before, its method and its body.
struct Server {
    port: u16,
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

/// A whole response.
fn response(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn ok(body: impl ToString) -> Vec<u8> {
    response("200 OK", body.to_string().as_bytes())
}

impl Server {
    fn new(answer: impl Fn(usize, &str, &str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            asked: Arc::default(),
            over: Arc::default(),
        };
        let (asked, over) = (Arc::clone(&server.asked), Arc::clone(&server.over));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                while let Some((head, body)) = request(&mut stream) {
                    let before = asked.fetch_add(1, Ordering::SeqCst);
                    let answer = answer(before, &head, &body);
                    if answer.is_empty() || stream.write_all(&answer).is_err() {
                        break;
                    }
                }
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/predict", self.port)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Head and body of the next request of a connection.
fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

/// The pixels of a request, picture by picture.
fn pictures(body: &str) -> Vec<Vec<f32>> {
    let inputs = &serde_json::from_str::<Value>(body).unwrap()["inputs"];
    assert_eq!(inputs["dtype"], "float32");
    let shape: Vec<usize> = serde_json::from_value(inputs["shape"].clone()).unwrap();
    let bytes = STANDARD.decode(inputs["data"].as_str().unwrap()).unwrap();
    assert_eq!(bytes.len(), 4 * shape.iter().product::<usize>());
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    let values: Vec<f32> = bytes.chunks(4).map(value).collect();
    values
        .chunks(shape[1] * shape[2] * shape[3])
        .map(<[f32]>::to_vec)
        .collect()
}

/// A server that gives the pixels themselves as logits.
fn honest(_: usize, head: &str, body: &str) -> Vec<u8> {
    match head.starts_with("get") {
        true => ok(json!({"classes": 2, "shape": SHAPE, "name": "echo"})),
        false => ok(json!({"logits": pictures(body)})),
    }
}

fn quick() -> RemoteSettings {
    RemoteSettings {
        timeout: Duration::from_secs(10),
        start_timeout: Duration::from_secs(10),
        retries: 1,
        backoff: Duration::from_millis(1),
        batch: 2,
        ..RemoteSettings::default()
    }
}

fn given() -> RemoteSettings {
    RemoteSettings {
        input: Some(SHAPE),
        ..quick()
    }
}

fn image(pixels: [f32; 2]) -> Image {
    Image::new(SHAPE, pixels.to_vec()).unwrap()
}

fn logits(remote: &Remote, pixels: &[[f32; 2]]) -> Result<Vec<Vec<f32>>> {
    let images: Vec<Image> = pixels.iter().map(|&pixels| image(pixels)).collect();
    remote.worker()?.logits(&images.iter().collect::<Vec<_>>())
}

fn refusal(result: Result<Remote>) -> String {
    result.err().expect("it is refused").to_string()
}

#[test]
fn a_model_behind_a_url_answers_in_order() {
    let server = Server::new(honest);
    let remote = Remote::open(&server.url(), &quick()).unwrap();
    assert_eq!((remote.input(), remote.classes()), (SHAPE, 2));
    assert_eq!(remote.name(), server.url());
    assert!(!remote.gives_labels_only());
    // A description and a grey picture.
    assert_eq!(server.asked(), 2);
    let asked = [[0.1, 0.9], [1e-30, 0.2], [1.0, 0.0]];
    assert_eq!(logits(&remote, &asked).unwrap(), asked);
    assert_eq!(
        (server.asked(), remote.requests()),
        (4, 4),
        "two pictures in a request"
    );
    assert!(logits(&remote, &[]).unwrap().is_empty());

    let mut worker = remote.worker().unwrap();
    let wrong = worker.logits(&[&Image::zeros([3, 1, 2])]).unwrap_err();
    assert!(wrong.to_string().contains("[1, 1, 2]"), "{wrong}");
    let refused = worker.differentials(&[], &[]).unwrap_err();
    assert!(
        refused.is_unsupported() && refused.to_string().contains("scores or labels"),
        "{refused}"
    );
}

#[test]
fn probabilities_and_labels_become_logits() {
    for (answer, classes, expected, labels_only) in [
        (
            json!({"probabilities": [[1.0, 0.5, 0.0]]}),
            None,
            vec![0.0, 0.5_f32.ln(), 1e-12_f32.ln()],
            false,
        ),
        (json!({"labels": [2]}), Some(3), vec![0.0, 0.0, 1.0], true),
        (
            json!({"logits": [[1, -2e3, 0.25]], "more": {}}),
            Some(3),
            vec![1.0, -2000.0, 0.25],
            false,
        ),
    ] {
        let server = Server::new(move |_, _, _| ok(&answer));
        let settings = RemoteSettings { classes, ..given() };
        let remote = Remote::open(&server.url(), &settings).unwrap();
        assert_eq!(remote.classes(), 3);
        assert_eq!(remote.gives_labels_only(), labels_only);
        assert_eq!(logits(&remote, &[[0.0, 0.0]]).unwrap(), [expected]);
    }
}

#[test]
fn whatever_is_wrong_with_an_answer_is_asked_again_and_then_told() {
    let text = |body: &str| ok(body);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (
            text("<!DOCTYPE html><html></html>"),
            "cannot be read (expected value",
        ),
        (text("<!DOCTYPE html>"), "begins with \"<!DOCTYPE html>\""),
        (text("{\"logits\": [[1.0, NaN]]}"), "cannot be read"),
        (text("{\"logits\": [[1.0, null]]}"), "cannot be read"),
        (text("{\"logits\": [[1.0, 1e999]]}"), "cannot be read"),
        (text("{\"logits\": [[1.0, 1e39]]}"), "which is out of range"),
        (
            text("{\"probabilities\": [[99.0, 1.0]]}"),
            "returned the score 99, which is out of range",
        ),
        (
            text("{\"logits\": [[1.0]]}"),
            "returned 1 score for a picture, but has 2 classes",
        ),
        (
            text("{\"logits\": [[1.0, 2.0, 3.0]]}"),
            "returned 3 scores for a picture, but has 2 classes",
        ),
        (
            text("{\"logits\": [[1.0, 2.0], [1.0, 2.0]]}"),
            "answered for 2 pictures, but was asked about 1",
        ),
        (text("{\"logits\": []}"), "answered for 0 pictures"),
        (
            text("{\"labels\": [2]}"),
            "returned the label 2, but has 2 classes",
        ),
        (text("{\"labels\": [-1]}"), "cannot be read"),
        (
            text("{\"labels\": [0]}"),
            "answered with labels, but with logits before",
        ),
        (
            text("{\"scores\": [[1.0, 2.0]]}"),
            "none or several of logits",
        ),
        (
            text("{\"labels\": [0], \"logits\": [[1.0, 2.0]]}"),
            "none or several of logits",
        ),
        (
            text("{\"error\": \"out of\\nmemory\"}"),
            r"reported an error: out of\nmemory",
        ),
        (text(""), "cannot be read"),
        (response("200 OK", b"\xff\xfe"), "is not UTF-8"),
        (
            response("500 Internal Server Error", b"Traceback"),
            "HTTP status 500 Internal Server Error: \"Traceback\"",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
            "redirects to \"http://127.0.0.1:1/\"",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"lo".to_vec(),
            "did not answer in time",
        ),
        (
            b"220 smtp.example\r\n\r\n".to_vec(),
            "did not answer with valid HTTP",
        ),
        // The connection is closed without a word.
        (Vec::new(), "cannot be reached"),
        (
            ok(" ".repeat(wire::LIMIT as usize + 1)),
            "answered with more than 32 MiB",
        ),
    ];
    for (bad, says) in cases {
        let close = bad.windows(4).any(|part| part == b"{\"lo") && !bad.ends_with(b"}");
        let answer = bad.clone();
        let server = Server::new(move |before, head, body| match before {
            0 | 1 => honest(before, head, body),
            _ => answer.clone(),
        });
        let settings = RemoteSettings {
            timeout: if close {
                Duration::from_millis(300)
            } else {
                quick().timeout
            },
            ..quick()
        };
        let remote = Remote::open(&server.url(), &settings).unwrap();
        let error = logits(&remote, &[[0.0, 1.0]]).unwrap_err().to_string();
        let begins = format!(
            "question 3 to model {}, about 1 picture, got no answer after 2 tries: the model ",
            server.url()
        );
        let shown = String::from_utf8_lossy(&bad[..bad.len().min(80)]).into_owned();
        assert!(error.starts_with(&begins), "{shown}: {error}");
        assert!(error.contains(says), "{shown}: {error}");
        assert_eq!(remote.requests(), 4, "{shown}");
    }
}

#[test]
fn nobody_waits_for_an_answer_after_the_end() {
    static STOP: Halt = Halt::new();
    let server = Server::new(|before, head, body| {
        if before >= 2 {
            thread::sleep(Duration::from_millis(1500));
        }
        honest(before, head, body)
    });
    let settings = RemoteSettings {
        stop: Some(&STOP),
        ..quick()
    };
    let remote = Remote::open(&server.url(), &settings).unwrap();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            STOP.drop_all();
        });
        let stopped = logits(&remote, &[[0.25, 0.5]]).unwrap_err();
        assert!(matches!(stopped, Error::Stopped), "{stopped}");
    });
    assert!(begun.elapsed() < Duration::from_millis(1200));
}

#[test]
fn one_bad_answer_is_forgiven() {
    let server = Server::new(|before, head, body| match before % 2 {
        0 => response("503 Service Unavailable", b"busy"),
        _ => honest(before, head, body),
    });
    let remote = Remote::open(&server.url(), &quick()).unwrap();
    assert_eq!(logits(&remote, &[[0.25, 0.5]]).unwrap(), [[0.25, 0.5]]);
    assert_eq!(server.asked(), 6);
}

#[test]
fn a_model_that_is_silent_or_gone_is_given_up() {
    let server = Server::new(|before, head, body| {
        if before > 1 {
            thread::sleep(Duration::from_millis(400));
        }
        honest(before, head, body)
    });
    let settings = RemoteSettings {
        timeout: Duration::from_millis(100),
        ..quick()
    };
    let remote = Remote::open(&server.url(), &settings).unwrap();
    let error = logits(&remote, &[[0.0, 1.0]]).unwrap_err().to_string();
    assert!(error.contains("did not answer in time"), "{error}");

    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let gone = Remote::open(&format!("http://127.0.0.1:{port}"), &given());
    assert!(refusal(gone).contains("cannot be reached"));
}

#[test]
fn a_model_of_another_kind_is_refused_when_it_is_opened() {
    for (described, classes, says) in [
        (
            json!({"classes": 10, "shape": SHAPE}),
            None,
            "returned 2 scores for a picture, but has 10 classes",
        ),
        (
            json!({"classes": 2, "shape": SHAPE}),
            Some(3),
            "has 2 classes, but 3 are set",
        ),
        (json!({"classes": 2}), None, "does not report the shape"),
        (
            json!({"classes": 1, "shape": SHAPE}),
            None,
            "the number of classes must be 2 to",
        ),
        (
            json!({"classes": 2, "shape": [3, 1_u64 << 40, 1_u64 << 40]}),
            None,
            "must have 1 to",
        ),
        (
            json!({"classes": 2, "shape": [3, 0, 4]}),
            None,
            "must have 1 to",
        ),
        (
            json!({"classes": 2, "shape": [3, 32]}),
            None,
            "cannot be read",
        ),
    ] {
        let server = Server::new(move |before, head, body| match head.starts_with("get") {
            true => ok(&described),
            false => honest(before, head, body),
        });
        let message = refusal(Remote::open(
            &server.url(),
            &RemoteSettings { classes, ..quick() },
        ));
        assert!(message.contains(says), "{message}");
    }
    let server = Server::new(|_, _, _| ok(json!({"labels": [0]})));
    let message = refusal(Remote::open(&server.url(), &given()));
    assert!(message.contains("set it"), "{message}");
}

#[test]
fn addresses_and_settings_that_make_no_sense_are_refused() {
    for (address, says) in [
        ("http://", "is not a model's address"),
        ("http:// /", "is not a model's address"),
        ("ftp://host/", "no scheme or no host"),
        ("model", "no scheme or no host"),
        (
            "http://me:secret@host/",
            "it contains a user name or password",
        ),
        ("cmd:", "is not a valid command"),
        ("cmd:python 'serve.py", "is a quotation mark missing?"),
        ("cmd:/no/such/program", "cannot be started"),
    ] {
        let message = refusal(Remote::open(address, &given()));
        assert!(message.contains(says), "{address}: {message}");
    }
    for (settings, says) in [
        (
            RemoteSettings {
                timeout: Duration::ZERO,
                ..given()
            },
            "the timeout",
        ),
        (
            RemoteSettings {
                timeout: Duration::MAX,
                ..given()
            },
            "the timeout",
        ),
        (
            RemoteSettings {
                backoff: Duration::MAX,
                ..given()
            },
            "between two tries",
        ),
        (
            RemoteSettings {
                rate: Some(0.0),
                ..given()
            },
            "the rate",
        ),
        (
            RemoteSettings {
                rate: Some(f64::NAN),
                ..given()
            },
            "the rate",
        ),
        (
            RemoteSettings {
                batch: 0,
                ..given()
            },
            "a request must hold",
        ),
        (
            RemoteSettings {
                classes: Some(1),
                ..given()
            },
            "must be 2 to",
        ),
        (
            RemoteSettings {
                input: Some([0, 1, 1]),
                ..given()
            },
            "must have 1 to",
        ),
        (
            RemoteSettings {
                headers: vec![("a\nb".into(), "secret".into())],
                ..given()
            },
            "the header \"a\\\\nb\" cannot be sent",
        ),
    ] {
        let message = refusal(Remote::open("http://127.0.0.1:1/", &settings));
        assert!(
            message.contains(says) && !message.contains("secret"),
            "{message}"
        );
    }
    for (text, is) in [
        ("http://a", true),
        ("https://a", true),
        ("cmd:a", true),
        ("a/http.onnx", false),
    ] {
        assert_eq!(Remote::is_named_by(text), is, "{text}");
    }
}

#[test]
fn headers_are_sent_along() {
    let server = Server::new(
        |before, head, body| match head.contains("\r\nx-api-key: 17\r\n") {
            true => honest(before, head, body),
            false => response("401 Unauthorized", b""),
        },
    );
    let headers = vec![("X-API-Key".to_owned(), "17".to_owned())];
    assert!(Remote::open(&server.url(), &RemoteSettings { headers, ..quick() }).is_ok());
    assert!(refusal(Remote::open(&server.url(), &quick())).contains("401 Unauthorized"));
}

#[test]
fn workers_together_keep_to_the_rate() {
    let server = Server::new(honest);
    let settings = RemoteSettings {
        rate: Some(100.0),
        ..quick()
    };
    let remote = Remote::open(&server.url(), &settings).unwrap();
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| logits(&remote, &[[0.0, 1.0]; 8]).unwrap());
        }
    });
    // 16 pictures in pairs: the last pair waits for 14, and the grey picture's turn.
    assert!(
        begin.elapsed() >= Duration::from_millis(140),
        "{:?}",
        begin.elapsed()
    );
}

#[cfg(unix)]
mod programs {
    use super::*;

    /// A program of the shell's, in a file of its own.
    fn script(folder: &tempfile::TempDir, text: &str) -> String {
        let path = folder.path().join("a model.sh");
        std::fs::write(&path, text).unwrap();
        format!(
            "cmd:sh '{}' {}",
            path.display(),
            folder.path().join("starts").display()
        )
    }

    fn starts(folder: &tempfile::TempDir) -> usize {
        std::fs::read_to_string(folder.path().join("starts")).map_or(0, |text| text.lines().count())
    }

    const HONEST: &str = r#"echo start >> "$1"
while read -r line; do
  case "$line" in
    *describe*) echo '{"classes": 2, "shape": [1, 1, 2]}' ;;
    *'"shape":[2,1,1,2]'*) echo '{"logits": [[0, 1], [2, 3]]}' ;;
    *) echo '{"logits": [[4, 5]]}' ;;
  esac
done
"#;

    #[test]
    fn a_program_is_started_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let remote = Remote::open(&script(&folder, HONEST), &quick()).unwrap();
        assert_eq!((remote.input(), remote.classes()), (SHAPE, 2));
        for _ in 0..3 {
            let answered = logits(&remote, &[[0.0, 1.0]; 3]).unwrap();
            assert_eq!(answered, [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]);
        }
        assert_eq!(starts(&folder), 1);
        // Two workers at a time need two.
        let workers = [remote.worker().unwrap(), remote.worker().unwrap()];
        for mut worker in workers {
            assert_eq!(worker.logits(&[&image([0.0, 0.0])]).unwrap(), [[4.0, 5.0]]);
        }
        assert_eq!(starts(&folder), 2);
    }

    #[test]
    fn a_program_that_dies_is_started_again() {
        let folder = tempfile::tempdir().unwrap();
        // It answers twice in a life.
        let mortal = HONEST.replace("while read -r line; do", "for life in 1 2; do read -r line");
        let remote = Remote::open(&script(&folder, &mortal), &quick()).unwrap();
        for _ in 0..4 {
            assert_eq!(logits(&remote, &[[0.0, 1.0]]).unwrap(), [[4.0, 5.0]]);
        }
        assert_eq!(starts(&folder), 3);
    }

    #[test]
    fn what_programs_do_wrong_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (text, says) in [
            (
                "echo 'no such weights' >&2; exit 3",
                "ended without an answer (exit status: 3); its error output ends with \"no such weights\"",
            ),
            (
                "read -r line; echo loading; sleep 20",
                "begins with \"loading\\n\"",
            ),
            ("exec sleep 20", "did not answer in time"),
            (
                "read -r line; printf '\\377\\n'; exec sleep 20",
                "is not UTF-8",
            ),
            (
                "read -r line; tr '\\0' ' ' < /dev/zero",
                "answered with more than 32 MiB",
            ),
            // The second is the answer to no question.
            (
                "read -r line; echo '{\"logits\": [[0, 1]]}'; echo more; exec sleep 20",
                "unexpected line: \"more\\\\n\"",
            ),
        ] {
            let settings = RemoteSettings {
                start_timeout: Duration::from_millis(if text.contains("zero") {
                    10_000
                } else {
                    500
                }),
                retries: 0,
                ..given()
            };
            let opened = Remote::open(&script(&folder, text), &settings);
            let message = match opened {
                Err(error) => error.to_string(),
                Ok(remote) => {
                    // The line is on its way.
                    thread::sleep(Duration::from_millis(100));
                    logits(&remote, &[[0.0, 1.0]]).unwrap_err().to_string()
                }
            };
            assert!(message.contains(says), "{text}: {message}");
        }
    }

    #[test]
    fn a_program_ends_with_its_model() {
        let folder = tempfile::tempdir().unwrap();
        let settings = RemoteSettings {
            classes: Some(2),
            ..given()
        };
        let pid = folder.path().join("starts");
        let faithful = HONEST.replace("echo start", "echo $$");
        let remote = Remote::open(&script(&folder, &faithful), &settings).unwrap();
        let pid: u32 = std::fs::read_to_string(pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let lives = || std::path::Path::new(&format!("/proc/{pid}")).exists();
        assert!(lives() || !cfg!(target_os = "linux"));
        drop(remote);
        assert!(!lives());
    }
}
