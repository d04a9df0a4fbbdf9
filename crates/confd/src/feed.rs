//! A source that is followed: connected, watched or asked again, and connected anew after trouble.

use std::sync::Arc;
use std::time::Duration;

use brickyard_source::{Config, Error, Source, Update, Watching};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// First pause after trouble; it doubles with each in a row.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest pause: what has come back is noticed within a second.
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// What a feed tells.
#[derive(Debug)]
pub(crate) enum News {
    /// What the source has.
    Update(Update),
    /// It cannot be read; it is tried again.
    Trouble(Error),
    /// It cannot be watched, for a reason, and is read every so often.
    Polled(&'static str, String),
}

/// What is followed.
#[derive(Debug, Clone)]
pub(crate) struct Follow {
    /// Which feed it is.
    pub(crate) number: usize,
    pub(crate) config: Config,
    pub(crate) paths: Vec<String>,
    /// Whether changes are waited for; otherwise it is read once.
    pub(crate) watches: bool,
    /// How often what cannot be watched is read.
    pub(crate) interval: Duration,
}

/// Follows a source until nobody listens any more.
pub(crate) async fn follow(follow: Follow, news: mpsc::Sender<(usize, News)>) {
    let mut source = None;
    let mut failures = 0;
    loop {
        let ended = session(&follow, &mut source, &news, &mut failures).await;
        let Err(err) = ended else { return };
        if !err.is_retryable() {
            source = None;
        }
        failures += 1;
        if news.send((follow.number, News::Trouble(err))).await.is_err() {
            return;
        }
        sleep(pause(failures)).await;
    }
}

/// Ends with an error, or when there is nothing more to do.
async fn session(
    follow: &Follow,
    source: &mut Option<Arc<dyn Source>>,
    news: &mpsc::Sender<(usize, News)>,
    failures: &mut u32,
) -> Result<(), Error> {
    let connected = match source {
        Some(source) => Arc::clone(source),
        None => {
            let connected = brickyard_source::connect(&follow.config).await?;
            *source = Some(Arc::clone(&connected));
            connected
        }
    };
    let tell = async |what: News| news.send((follow.number, what)).await.is_ok();
    if follow.watches {
        match connected.watch(&follow.paths).await? {
            Watching::Watch(mut watch) => loop {
                let update = watch.next().await?;
                *failures = 0;
                if !tell(News::Update(update)).await {
                    return Ok(());
                }
            },
            Watching::Poll(why) => {
                if !tell(News::Polled(connected.name(), why)).await {
                    return Ok(());
                }
            }
        }
    }
    loop {
        let entries = connected.read(&follow.paths).await?;
        *failures = 0;
        if !tell(News::Update(Update::All(entries))).await || !follow.watches {
            return Ok(());
        }
        sleep(follow.interval).await;
    }
}

/// A pause that grows with the failures, and is another one each time, so that many who lost the
/// same server do not come back at once.
fn pause(failures: u32) -> Duration {
    let longest = PAUSE_FIRST.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX);
    longest.mul_f64(0.5 + 0.5 * random())
}

/// A number from 0 to 1 that nobody can tell before.
pub(crate) fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let number = RandomState::new().build_hasher().finish() >> 11;
    number as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_less_than_a_second() {
        for failures in 1..40 {
            let pause = pause(failures);
            assert!(pause >= PAUSE_FIRST / 2 && pause <= PAUSE_MAX, "{pause:?}");
        }
        assert!(pause(20) >= PAUSE_MAX / 2);
    }
}
