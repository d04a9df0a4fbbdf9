//! The loop of a run that goes on: news of sources, of files and of commands come in, one at a time;
//! what they concern is rendered again; what follows is done.
//!
//! It looks at states, not at events: a resource that something may have changed for is rendered and
//! compared, and nothing happens where nothing differs. So it does no harm to look once too often,
//! and a change is never lost while another one is under way: the resource is looked at once more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use brickyard_source::{Config, Update};
use brickyard_sys::directories::Directories;
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::backends::Backends;
use crate::child::Child;
use crate::context::Context;
use crate::data::{Data, is_covered};
use crate::feed::{self, Follow, News};
use crate::job::{self, Job, Outcome, Prepared, reload_command};
use crate::load;
use crate::settings::Mode;
use crate::status::{count, set};

/// Commands that run at a time.
const COMMANDS_MAX: usize = 8;
/// News that may wait.
const NEWS_MAX: usize = 64;
/// First pause before a failed reload is tried again; it doubles up to a minute.
const RELOAD_PAUSE_FIRST: Duration = Duration::from_millis(200);
const RELOAD_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A resource in the loop.
struct Slot {
    job: Job,
    feed: usize,
    /// Whether a command runs for it.
    is_busy: bool,
    /// Whether something changed meanwhile.
    again: bool,
    /// When the first and the last of the changes came that are waited after.
    changed: Option<(Instant, Instant)>,
    /// Failed reloads in a row.
    reload_failures: u32,
    /// Before that it is not reloaded again.
    not_before: Option<Instant>,
    has_failed: bool,
    was_rendered: bool,
}

/// A source that is followed.
struct Feed {
    config: Config,
    matches_text: bool,
    paths: Vec<String>,
    data: Data,
    /// Which task follows it; what older ones say does not count.
    epoch: usize,
    task: Option<JoinHandle<()>>,
    /// Whether it has answered since it was asked.
    is_fresh: bool,
    /// What it last complained about.
    trouble: Option<String>,
    is_polled: bool,
}

type Sender = mpsc::Sender<(usize, News)>;

/// Something that was waited for.
enum Finished {
    Job { id: u64, outcome: Outcome },
    Reload { ids: BTreeSet<u64>, failure: Option<String> },
}

/// The loop's state.
pub(crate) struct Runner<'a> {
    context: &'a Context,
    slots: BTreeMap<u64, Slot>,
    next_id: u64,
    feeds: Vec<Feed>,
    epochs: usize,
    /// Resources by feed and path.
    index: BTreeMap<(usize, String), Vec<u64>>,
    /// Resources to look at.
    ready: BTreeSet<u64>,
    timers: BTreeSet<(Instant, u64)>,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Finished> + 'a>>>,
    /// Reload commands that are due once for several resources.
    reloads: BTreeMap<String, BTreeSet<u64>>,
    news: (Sender, mpsc::Receiver<(usize, News)>),
    directories: Option<Directories>,
    child: Option<Child>,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(context: &'a Context) -> Self {
        let directories = match context.settings.mode {
            Mode::Watch => Directories::new().ok(),
            Mode::Interval | Mode::Onetime => None,
        };
        Self {
            context,
            slots: BTreeMap::new(),
            next_id: 0,
            feeds: Vec::new(),
            epochs: 0,
            index: BTreeMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            running: FuturesUnordered::new(),
            reloads: BTreeMap::new(),
            news: mpsc::channel(NEWS_MAX),
            directories,
            child: context.settings.exec.clone().map(Child::new),
        }
    }

    /// Runs until a signal or the end of the command that is run beside; the exit code.
    pub(crate) async fn run(mut self, mut signals: crate::Signals) -> i32 {
        let interval = self.context.settings.interval.max(Duration::from_millis(1));
        let mut tick = tokio::time::interval_at(Instant::now() + interval, interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.reload();
        loop {
            self.advance();
            let wake = self.timers.first().map(|(at, _)| *at);
            tokio::select! {
                // Cancel safe, all of them: what was not taken is still there the next time.
                news = self.news.1.recv() => if let Some((epoch, news)) = news {
                    self.hear(epoch, news);
                    // What came together is looked at together.
                    while let Ok((epoch, news)) = self.news.1.try_recv() {
                        self.hear(epoch, news);
                    }
                },
                Some(finished) = self.running.next(), if !self.running.is_empty() => {
                    self.finish(finished);
                }
                () = sleep_until(wake) => {}
                _ = tick.tick() => self.tick(),
                () = changed(&mut self.directories) => self.reload(),
                code = ended(&mut self.child) => return code,
                signal = signals.next() => match signal {
                    crate::Asked::Reload => self.reload(),
                    crate::Asked::End(name) => {
                        self.context.log.info(format!("Captured {name}. Exiting..."));
                        return match &mut self.child {
                            Some(child) => child.stop().await,
                            None => 0,
                        };
                    }
                },
            }
        }
    }

    /// Reads resources and templates anew. Resources that are the same as before go on as they are.
    fn reload(&mut self) {
        let loaded = load::resources(self.context);
        loaded.problems.iter().for_each(|problem| self.context.log.error(problem));
        let mut is_good = loaded.problems.is_empty();
        let before = std::mem::take(&mut self.slots).into_iter();
        let mut before: HashMap<_, _> =
            before.map(|(id, slot)| (slot.job.resource.path.clone(), (id, slot))).collect();
        let mut backends = Backends::default();
        let mut slots: Vec<(u64, Slot)> = Vec::new();
        for resource in loaded.resources {
            let number = match backends.number(&resource, &self.context.settings) {
                Ok(number) => number,
                Err(text) => {
                    self.context.log.error(text);
                    is_good = false;
                    continue;
                }
            };
            let (id, mut slot) = match before.remove(&resource.path) {
                Some((id, slot)) if *slot.job.resource == resource => (id, slot),
                // Its commands are under way; what is new of it comes after them.
                Some((id, mut slot)) if slot.is_busy => {
                    slot.job = Job::new(resource);
                    slot.again = true;
                    (id, slot)
                }
                _ => {
                    self.next_id += 1;
                    (self.next_id, Slot::new(resource))
                }
            };
            slot.feed = number;
            slots.push((id, slot));
        }
        // One that cannot be read for the moment goes on as it was.
        for (id, mut slot) in before.into_values() {
            let resource = &slot.job.resource;
            if !is_good
                && resource.path.exists()
                && let Ok(number) = backends.number(resource, &self.context.settings)
            {
                slot.feed = number;
                slots.push((id, slot));
            }
        }
        self.set_feeds(backends);
        self.index.clear();
        for (id, slot) in slots {
            for path in &slot.job.resource.keys {
                self.index.entry((slot.feed, path.clone())).or_default().push(id);
            }
            self.slots.insert(id, slot);
        }
        self.sweep();
        self.watch_directories(&loaded.directories);
        set(&self.context.status.resources, self.slots.len());
        self.ready.extend(self.slots.keys());
    }

    /// Keeps the feeds that are still asked for the same, and begins the others.
    fn set_feeds(&mut self, backends: Backends) {
        let mut before = std::mem::take(&mut self.feeds);
        for (config, paths) in backends.into_all() {
            let same = before.iter().position(|feed| feed.config == config);
            let mut feed = match same {
                Some(at) => before.swap_remove(at),
                None => Feed::new(config),
            };
            if feed.task.is_none() || feed.paths != paths {
                feed.paths = paths;
                feed.is_fresh = false;
                self.epochs += 1;
                feed.begin(self.epochs, self.context, &self.news.0);
            }
            self.feeds.push(feed);
        }
        before.iter_mut().for_each(Feed::end);
    }

    /// Takes away what former runs have left beside the files.
    fn sweep(&self) {
        let directories: BTreeSet<_> =
            self.slots.values().filter_map(|slot| slot.job.resource.dest.parent()).collect();
        directories.into_iter().for_each(crate::place::sweep);
    }

    fn watch_directories(&mut self, resources: &[camino::Utf8PathBuf]) {
        let Some(directories) = &mut self.directories else { return };
        let templates = load::directories_below(&self.context.templates_directory());
        for directory in resources.iter().chain(&templates) {
            if let Err(err) = directories.watch(directory.as_std_path()) {
                self.context.log.debug(format!("{directory} cannot be watched: {err}"));
            }
        }
    }

    /// The time for a look at everything has come.
    fn tick(&mut self) {
        if self.context.settings.mode == Mode::Interval {
            for feed in &mut self.feeds {
                feed.is_fresh = false;
                feed.end();
            }
            self.reload();
            return;
        }
        for feed in self.feeds.iter_mut().filter(|feed| !feed.is_polled) {
            // What a watch should have told of is read once more.
            self.epochs += 1;
            feed.begin(self.epochs, self.context, &self.news.0);
        }
        self.ready.extend(self.slots.keys());
    }

    fn hear(&mut self, epoch: usize, news: News) {
        let Some(at) = self.feeds.iter().position(|feed| feed.epoch == epoch) else { return };
        let feed = &mut self.feeds[at];
        let log = &self.context.log;
        match news {
            News::Update(update) => {
                if feed.trouble.take().is_some() {
                    log.info(format!("Backend {} answers again", feed.config.backend));
                }
                let is_first = !std::mem::replace(&mut feed.is_fresh, true);
                let is_whole = matches!(update, Update::All(_));
                let changed = feed.data.apply(update);
                log.debug(format!("{} keys changed", changed.len()));
                if is_first {
                    let mine = self.slots.iter().filter(|(_, slot)| slot.feed == at);
                    self.ready.extend(mine.map(|(id, _)| *id));
                } else {
                    self.touch(at, &changed);
                }
                if is_whole {
                    let keys = self.feeds.iter().map(|feed| feed.data.len()).sum();
                    set(&self.context.status.keys, keys);
                }
                let all = self.feeds.iter().all(|feed| feed.is_fresh && feed.trouble.is_none());
                self.context.status.connected.store(all, Ordering::Relaxed);
            }
            News::Trouble(err) => {
                count(&self.context.status.backend_failures);
                self.context.status.connected.store(false, Ordering::Relaxed);
                let text = err.to_string();
                // Each once, however often it is tried.
                if feed.trouble.as_ref() != Some(&text) {
                    log.error(&text);
                    feed.trouble = Some(text);
                }
            }
            News::Polled(name, why) => {
                if !std::mem::replace(&mut feed.is_polled, true) {
                    let every = self.context.settings.interval;
                    log.info(format!(
                        "Backend {name} cannot be watched: {why}; it is read every {every:?}"
                    ));
                }
            }
        }
    }

    /// Marks the resources for which changed keys may matter.
    fn touch(&mut self, feed: usize, changed: &[String]) {
        let now = Instant::now();
        let mut touched = BTreeSet::new();
        for key in changed {
            let is_read = |slot: &Slot| slot.job.reads_key(key);
            if self.feeds[feed].matches_text {
                let mine = self.slots.iter().filter(|(_, slot)| {
                    slot.feed == feed && is_covered(&slot.job.resource.keys, true, key)
                });
                touched.extend(mine.filter(|(_, slot)| is_read(slot)).map(|(id, _)| *id));
                continue;
            }
            for path in above(key) {
                let ids = self.index.get(&(feed, path.to_owned())).into_iter().flatten();
                touched.extend(ids.filter(|id| self.slots.get(id).is_some_and(is_read)));
            }
        }
        for id in touched {
            if let Some(slot) = self.slots.get_mut(&id) {
                let first = slot.changed.map_or(now, |(first, _)| first);
                slot.changed = Some((first, now));
            }
            self.ready.insert(id);
        }
    }

    /// Looks at everything that is due, and begins what follows.
    fn advance(&mut self) {
        let now = Instant::now();
        self.context.templates.look_again();
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            self.ready.insert(id);
        }
        while self.running.len() < COMMANDS_MAX
            && let Some(id) = self.ready.pop_first()
        {
            self.look(id, now);
        }
        if self.ready.is_empty() {
            self.begin_reloads();
        }
        let status = &self.context.status;
        set(&status.failing, self.slots.values().filter(|slot| slot.has_failed).count());
        let rendered = self.slots.values().all(|slot| slot.was_rendered);
        if rendered && !status.rendered.swap(true, Ordering::Relaxed) {
            crate::notify::tell("READY=1");
        }
        if rendered && let Some(child) = &mut self.child {
            child.start_if_new(&self.context.log);
        }
    }

    fn look(&mut self, id: u64, now: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(feed) = self.feeds.get(slot.feed).filter(|feed| feed.is_fresh) else { return };
        if slot.is_busy {
            slot.again = true;
            return;
        }
        let settings = &self.context.settings;
        let quiescence = slot.job.resource.quiescence.or(settings.quiescence);
        if let (Some(quiet), Some((first, last))) = (quiescence, slot.changed) {
            let due = (last + quiet.min).min(first + quiet.max);
            if due > now {
                self.timers.insert((due, id));
                return;
            }
        }
        if let Some(at) = slot.not_before.filter(|at| *at > now) {
            self.timers.insert((at, id));
            return;
        }
        slot.changed = None;
        let defers = settings.group_reloads && !settings.sync_only;
        let resource = &slot.job.resource;
        let waits = (resource.check.is_some() && !settings.sync_only)
            || (resource.reload.is_some() && !defers && !settings.sync_only);
        let prepared = slot.job.prepare(&feed.data, feed.matches_text, self.context);
        let outcome = match prepared {
            Err(text) => Outcome::Failed(text),
            Ok(Prepared::InSync) => {
                slot.has_failed = false;
                slot.was_rendered = true;
                return;
            }
            Ok(Prepared::Due(work)) => {
                let doing = job::carry_out(*work, defers, self.context);
                if waits {
                    slot.is_busy = true;
                    let doing = doing.map(move |outcome| Finished::Job { id, outcome });
                    self.running.push(Box::pin(doing));
                    return;
                }
                // There is nothing in it that waits.
                match doing.now_or_never() {
                    Some(outcome) => outcome,
                    None => Outcome::Failed("it was interrupted".to_owned()),
                }
            }
        };
        self.finish(Finished::Job { id, outcome });
    }

    fn finish(&mut self, finished: Finished) {
        match finished {
            Finished::Job { id, outcome } => self.finish_job(id, outcome),
            Finished::Reload { ids, failure } => {
                let status = &self.context.status;
                count(if failure.is_some() { &status.reload_failures } else { &status.reloads });
                for id in ids {
                    let Some(slot) = self.slots.get(&id) else { continue };
                    let dest = &slot.job.resource.dest;
                    let outcome = match &failure {
                        Some(text) => Outcome::NotLoaded(text.clone()),
                        None => {
                            crate::place::Unloaded::of(dest).clear();
                            self.context.log.info(format!("Target config {dest} has been updated"));
                            Outcome::Done
                        }
                    };
                    self.finish_job(id, outcome);
                }
            }
        }
    }

    fn finish_job(&mut self, id: u64, outcome: Outcome) {
        let now = Instant::now();
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.is_busy = false;
        if std::mem::take(&mut slot.again) {
            self.ready.insert(id);
        }
        match outcome {
            Outcome::Done => {
                slot.has_failed = false;
                slot.was_rendered = true;
                slot.reload_failures = 0;
                slot.job.is_unloaded = false;
                let pause = slot.job.resource.reload_pause;
                slot.not_before = (!pause.is_zero()).then(|| now + pause);
                if let Some(child) = &mut self.child {
                    child.changed();
                }
            }
            Outcome::Placed => {
                slot.is_busy = true;
                let resource = &slot.job.resource;
                let strict = self.context.settings.strict;
                let reload = resource.reload.as_deref().unwrap_or_default();
                let command = reload_command(reload, resource.dest.as_str(), strict);
                self.reloads.entry(command).or_default().insert(id);
            }
            Outcome::Failed(text) => {
                slot.has_failed = true;
                self.context.log.error(text);
            }
            Outcome::NotLoaded(text) => {
                slot.has_failed = true;
                slot.was_rendered = true;
                self.context.log.error(text);
                if !self.context.settings.strict {
                    slot.job.is_unloaded = true;
                    let doubled = RELOAD_PAUSE_FIRST * (1 << slot.reload_failures.min(9));
                    slot.reload_failures += 1;
                    self.timers.insert((now + doubled.min(RELOAD_PAUSE_MAX), id));
                }
            }
        }
    }

    /// Begins reloads that several resources wait for: none that shares the command is under way.
    fn begin_reloads(&mut self) {
        for (command, ids) in std::mem::take(&mut self.reloads) {
            let limits = ids.iter().filter_map(|id| self.slots.get(id));
            let limit = limits.map(|slot| slot.job.resource.reload_timeout).max();
            let limit = self.context.settings.reload_timeout.or(limit).unwrap_or_default();
            let context = self.context;
            self.running.push(Box::pin(async move {
                let failure = job::run(&command, limit, context).await;
                Finished::Reload { ids, failure }
            }));
        }
    }
}

impl Slot {
    fn new(resource: crate::resource::Resource) -> Self {
        Self {
            job: Job::new(resource),
            feed: 0,
            is_busy: false,
            again: false,
            changed: None,
            reload_failures: 0,
            not_before: None,
            has_failed: false,
            was_rendered: false,
        }
    }
}

impl Feed {
    fn new(config: Config) -> Self {
        Self {
            matches_text: config.backend.matches_text(),
            config,
            paths: Vec::new(),
            data: Data::default(),
            epoch: 0,
            task: None,
            is_fresh: false,
            trouble: None,
            is_polled: false,
        }
    }

    fn begin(&mut self, epoch: usize, context: &Context, news: &mpsc::Sender<(usize, News)>) {
        self.end();
        self.epoch = epoch;
        let follow = Follow {
            number: epoch,
            config: self.config.clone(),
            paths: self.paths.clone(),
            watches: context.settings.mode == Mode::Watch,
            interval: context.settings.interval,
        };
        self.task = Some(tokio::spawn(feed::follow(follow, news.clone())));
    }

    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// A key and all directories above it.
fn above(key: &str) -> impl Iterator<Item = &str> {
    let directories = key.match_indices('/').map(|(at, _)| if at == 0 { "/" } else { &key[..at] });
    directories.chain(std::iter::once(key))
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for a change in directories.
async fn changed(directories: &mut Option<Directories>) {
    if let Some(watched) = directories
        && watched.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

async fn ended(child: &mut Option<Child>) -> i32 {
    match child {
        Some(child) => child.ended().await,
        None => std::future::pending().await,
    }
}
