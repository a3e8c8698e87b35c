//! A model that runs elsewhere: behind a URL, or in a program of the user's.
//!
//! The protocol is described in `docs/remote.md`. If an answer is missing or does not fit the question, the question is
//! repeated as the settings say; then an error names it. This is the only place where the library opens network
//! connections and starts programs, because the user named them.

mod command;
mod http;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use wire::{Answer, Description, Kind};

use crate::{
    Error, Result,
    counted::{counted, pictures},
    files::{download, is_of_file},
    image::Image,
    legible,
    oracle::{
        Differential, Halt, Objective,
        pool::{Appetite, Model, Worker},
    },
};

/// The maximum number of values in a picture of such a model.
const MOST_VALUES: usize = 1 << 26;

/// The maximum number of classes.
const MOST_CLASSES: usize = 1 << 20;

/// The longest allowed timeout or wait.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum wait between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How to query a remote model.
#[derive(Clone)]
pub struct RemoteSettings {
    /// The shape of its pictures, `[channels, height, width]`. If absent, the model's own description decides.
    pub input: Option<[usize; 3]>,
    /// The number of classes. If absent, the model's own description decides, or else the number of scores it returns.
    pub classes: Option<usize>,
    /// The timeout for an answer.
    pub timeout: Duration,
    /// The timeout for the first answer of a program that was just started.
    pub start_timeout: Duration,
    /// How often a question is repeated after a bad or missing answer.
    pub retries: u32,
    /// The wait before the first repetition. It doubles each time, up to a minute.
    pub backoff: Duration,
    /// The maximum number of pictures per second over all workers, repetitions included. Without it there is no limit.
    pub rate: Option<f64>,
    /// The maximum number of pictures in a request, at least 1.
    pub batch: usize,
    /// Additional headers of HTTP requests, such as an API key. They never appear in messages.
    pub headers: Vec<(String, String)>,
    /// Once this asks to drop running jobs, waiting ends, and questions fail with [`Error::Stopped`].
    pub stop: Option<&'static Halt>,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self {
            input: None,
            classes: None,
            timeout: Duration::from_secs(30),
            start_timeout: Duration::from_secs(300),
            retries: 3,
            backoff: Duration::from_millis(500),
            rate: None,
            batch: 32,
            headers: Vec::new(),
            stop: None,
        }
    }
}

impl RemoteSettings {
    fn check(&self) -> Result<()> {
        let wait = |wait: Duration| wait > Duration::ZERO && wait <= LONGEST;
        for (sound, wanted) in [
            (
                wait(self.timeout) && wait(self.start_timeout),
                "the timeout must be positive and at most one day",
            ),
            (
                self.backoff <= LONGEST,
                "the wait between two tries must be at most one day",
            ),
            (
                self.rate.is_none_or(|rate| (1e-3..=1e9).contains(&rate)),
                "the rate must be from 0.001 to 1e9 pictures per second",
            ),
            (self.batch > 0, "a request must hold at least 1 picture"),
        ] {
            if !sound {
                return Err(Error::invalid(wanted));
            }
        }
        self.input.map_or(Ok(()), check_input)?;
        self.classes.map_or(Ok(()), check_classes)
    }
}

fn check_input(input: [usize; 3]) -> Result<()> {
    let values = input
        .iter()
        .try_fold(1, |product: usize, &size| product.checked_mul(size));
    match values {
        Some(1..=MOST_VALUES) => Ok(()),
        _ => Err(Error::invalid(format!(
            "the shape {input:?} of the pictures must have 1 to {MOST_VALUES} values"
        ))),
    }
}

fn check_classes(classes: usize) -> Result<()> {
    match classes {
        2..=MOST_CLASSES => Ok(()),
        _ => Err(Error::invalid(format!(
            "the number of classes must be 2 to {MOST_CLASSES}, not {classes}"
        ))),
    }
}

/// A connection to the model, for one thread. Errors are phrases that follow "the model".
trait Link: Send {
    /// Asks the model for its description.
    fn describe(&mut self) -> Result<String, String>;

    /// Sends a request and waits for the answer.
    fn ask(&mut self, request: &str) -> Result<String, String>;
}

/// The address of the model.
enum Address {
    Url(http::Client),
    Program(command::Launcher),
}

impl Address {
    fn parse(text: &str, settings: &RemoteSettings) -> Result<Self> {
        match text.strip_prefix("cmd:") {
            Some(line) => Ok(Self::Program(command::Launcher::new(line, settings)?)),
            None => Ok(Self::Url(http::Client::new(text, settings)?)),
        }
    }

    fn link(&self) -> Box<dyn Link> {
        match self {
            Self::Url(client) => Box::new(client.clone()),
            Self::Program(launcher) => Box::new(launcher.pipe()),
        }
    }
}

/// A remote classifier, which returns scores or labels but no gradients.
pub struct Remote {
    name: String,
    address: Address,
    input: [usize; 3],
    classes: usize,
    kind: Kind,
    batch: usize,
    tries: Tries,
    /// Links that no worker uses. They are kept because their programs have already loaded the model.
    spares: Mutex<Vec<Box<dyn Link>>>,
}

impl Remote {
    /// Whether the text names a remote model and not a path: `http://…`, `https://…` or `cmd:…`.
    pub fn is_named_by(address: &str) -> bool {
        ["http://", "https://", "cmd:"]
            .iter()
            .any(|scheme| address.starts_with(scheme))
    }

    /// Opens the model at `http://…` or `https://…`, or the program of `cmd:program argument …`. The words of a command
    /// are separated and quoted as in a POSIX shell, but no shell is started.
    ///
    /// Queries the model once with a grey picture, so that a model with another protocol is detected early.
    ///
    /// # Errors
    /// An invalid address or invalid settings, or a model that does not answer as `docs/remote.md` says.
    pub fn open(address: &str, settings: &RemoteSettings) -> Result<Self> {
        settings.check()?;
        let name = legible::name(address);
        if is_of_file(address) {
            return Err(Error::invalid(format!(
                "nothing is downloaded: {name} is the address of a file, and a URL must be that of a running model; {}",
                download(address)
            )));
        }
        let address = Address::parse(address, settings)?;
        let tries = Tries::new(&name, settings);
        let mut link = address.link();
        let described = match settings.input {
            Some(_) => Description::default(),
            None => tries.ask("its description", 0, || {
                Ok(link.describe().and_then(|text| Description::parse(&text)))
            })?,
        };
        let of_model = |error: Error| Error::invalid(format!("model {name}: {error}"));
        let input = settings.input.or(described.shape).ok_or_else(|| {
            Error::invalid(format!(
                "model {name} does not report the shape of its pictures; set it"
            ))
        })?;
        check_input(input).map_err(of_model)?;
        let classes = match (settings.classes, described.classes) {
            (Some(set), Some(own)) if set != own => {
                return Err(Error::invalid(format!(
                    "model {name} has {}, but {set} are set",
                    counted(own, "class", "classes")
                )));
            }
            (set, own) => set.or(own),
        };
        classes.map_or(Ok(()), check_classes).map_err(of_model)?;

        let grey = Image::new(input, vec![0.5; input.iter().product()])?;
        let request = wire::request(&[&grey], input);
        let answer = tries.ask("a grey picture", 1, || {
            let answer = link.ask(&request);
            Ok(answer.and_then(|text| Answer::parse(&text, 1, classes, None)))
        })?;
        let classes = answer.classes();
        check_classes(classes).map_err(of_model)?;
        Ok(Self {
            name,
            address,
            input,
            classes,
            kind: answer.kind,
            batch: settings.batch,
            tries,
            spares: Mutex::new(vec![link]),
        })
    }

    /// Returns the address, with unprintable characters escaped.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the shape of the images that it takes, `[channels, height, width]`.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Whether it returns only the most likely class. Its logits are then 1 for that class and 0 for the others.
    pub fn gives_labels_only(&self) -> bool {
        self.kind == Kind::Labels
    }

    /// Returns the number of requests sent so far, repetitions included.
    pub fn requests(&self) -> u64 {
        self.tries.sent.load(Ordering::Relaxed)
    }
}

impl Model for Remote {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        let spare = self
            .spares
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        Ok(Box::new(RemoteWorker {
            remote: self,
            link: Some(spare.unwrap_or_else(|| self.address.link())),
        }))
    }

    fn classes(&self) -> usize {
        self.classes
    }
}

struct RemoteWorker<'a> {
    remote: &'a Remote,
    /// `Some` until dropped.
    link: Option<Box<dyn Link>>,
}

impl Worker for RemoteWorker<'_> {
    fn logits(&mut self, images: &[&Image]) -> Result<Vec<Vec<f32>>> {
        let Remote {
            input,
            classes,
            kind,
            batch,
            ref tries,
            ..
        } = *self.remote;
        if let Some(other) = images.iter().find(|image| image.shape() != input) {
            return Err(Error::invalid(format!(
                "the model takes pictures of shape {input:?}, but got one of {:?}",
                other.shape()
            )));
        }
        let mut logits = Vec::with_capacity(images.len());
        for images in images.chunks(batch) {
            let request: Arc<str> = wire::request(images, input).into();
            let what = pictures(images.len());
            let answer = tries.ask(&what, images.len(), || {
                let link = self.link.take();
                let link = link.unwrap_or_else(|| self.remote.address.link());
                let (link, answer) = tries.wait_for(link, &request)?;
                self.link = Some(link);
                Ok(answer
                    .and_then(|text| Answer::parse(&text, images.len(), Some(classes), Some(kind))))
            })?;
            logits.extend(answer.logits);
        }
        Ok(logits)
    }

    fn appetite(&mut self, _for_gradients: bool) -> Result<Appetite> {
        Ok(Appetite {
            least: 1,
            most: self.remote.batch,
        })
    }

    fn differentials(&mut self, _: &[&Image], _: &[&Objective]) -> Result<Vec<Differential>> {
        Err(Error::unsupported(format!(
            "model {} is remote and has no gradients; choose an attack that needs only scores or labels",
            self.remote.name
        )))
    }
}

impl Drop for RemoteWorker<'_> {
    fn drop(&mut self) {
        let spares = self.remote.spares.lock();
        spares
            .unwrap_or_else(PoisonError::into_inner)
            .extend(self.link.take());
    }
}

/// Sends questions, with waits and repetitions.
struct Tries {
    /// The name of the model.
    name: String,
    retries: u32,
    backoff: Duration,
    /// The time between the starts of two single-picture questions.
    interval: Duration,
    /// The earliest start of the next question.
    next: Mutex<Option<Instant>>,
    questions: AtomicU64,
    sent: AtomicU64,
    stop: Option<&'static Halt>,
}

/// The interval at which a wait checks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(20);

impl Tries {
    fn new(name: &str, settings: &RemoteSettings) -> Self {
        let interval = settings.rate.map_or(0.0, |rate| 1.0 / rate);
        Self {
            name: name.to_owned(),
            retries: settings.retries,
            backoff: settings.backoff,
            interval: Duration::from_secs_f64(interval),
            next: Mutex::new(None),
            questions: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            stop: settings.stop,
        }
    }

    /// Fails if the run is being stopped.
    fn go_on(&self) -> Result<()> {
        match self.stop {
            Some(stop) if stop.drops_all() => Err(Error::Stopped),
            _ => Ok(()),
        }
    }

    /// Sleeps for `time`.
    fn wait(&self, time: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.go_on()?;
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(match self.stop {
                None => left,
                Some(_) => left.min(PATIENCE),
            });
        }
    }

    /// Returns the link and its answer to a request. If the run is stopped, both are abandoned.
    fn wait_for(
        &self,
        mut link: Box<dyn Link>,
        request: &Arc<str>,
    ) -> Result<(Box<dyn Link>, Result<String, String>)> {
        if self.stop.is_none() {
            let answer = link.ask(request);
            return Ok((link, answer));
        }
        let (sender, receiver) = mpsc::channel();
        let request = Arc::clone(request);
        let asking = thread::Builder::new().spawn(move || {
            let answer = link.ask(&request);
            // The receiver may be gone.
            let _ = sender.send((link, answer));
        });
        asking.map_err(|error| Error::invalid(format!("cannot start a thread: {error}")))?;
        loop {
            match receiver.recv_timeout(PATIENCE) {
                Ok(answered) => return Ok(answered),
                Err(RecvTimeoutError::Timeout) => self.go_on()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::invalid(
                        "the thread that queries the model has ended",
                    ));
                }
            }
        }
    }

    /// Repeats a question about `pictures` pictures until there is an answer.
    fn ask<T>(
        &self,
        what: &str,
        pictures: usize,
        mut ask: impl FnMut() -> Result<Result<T, String>>,
    ) -> Result<T> {
        let question = self.questions.fetch_add(1, Ordering::Relaxed) + 1;
        let mut backoff = self.backoff;
        let mut retries = 0..self.retries;
        loop {
            self.pace(pictures)?;
            self.sent.fetch_add(1, Ordering::Relaxed);
            let said = match ask()? {
                Ok(answer) => return Ok(answer),
                Err(said) => said,
            };
            if retries.next().is_none() {
                return Err(Error::invalid(format!(
                    "question {question} to model {}, about {what}, got no answer after {}: the model {}",
                    self.name,
                    match self.retries {
                        0 => "one try".to_owned(),
                        more => format!("{} tries", u64::from(more) + 1),
                    },
                    legible::line(&said)
                )));
            }
            self.wait(backoff.min(LONGEST_BACKOFF))?;
            backoff = backoff.saturating_mul(2);
        }
    }

    /// Waits until `pictures` more pictures are within the rate.
    fn pace(&self, pictures: usize) -> Result<()> {
        let pictures = u32::try_from(pictures).unwrap_or(u32::MAX);
        let share = self.interval.saturating_mul(pictures);
        if share.is_zero() {
            return Ok(());
        }
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = turn.checked_add(share);
        drop(next);
        self.wait(turn - now)
    }
}
