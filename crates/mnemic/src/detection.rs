//! Model servers that run on this machine: looked for in the background, as long as the server runs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mnemic_llm::{Client, Found, ModelKind, Origin, RetryPolicy, Timeouts};
use tokio::net::TcpStream;
use url::Url;

use crate::{
    providers::{Roster, Running},
    settings::{Settings, SettingsError},
    terminal::say,
};

/// How often each address is looked at; a server that was started is known within two looks.
const LOOK: Duration = Duration::from_secs(4);
/// How long it is believed that what listens is still the same.
const BELIEVED: Duration = Duration::from_secs(60);
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who hears what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Who reads what the program prints, and the log.
    Operator,
    /// The log.
    Log,
}

/// An address, and what is known of it.
struct Place {
    address: Url,
    running: Option<Running>,
    /// When it was last asked what it is.
    asked: Option<Instant>,
    /// How often in a row something else answered.
    strangers: u32,
}

/// The addresses to look at; none when nothing is to be looked for.
///
/// # Errors
/// One of them is none.
pub fn addresses(settings: &Settings) -> Result<Vec<Url>, SettingsError> {
    if !settings.switch("detect")? {
        return Ok(Vec::new());
    }
    let name = "detect_addresses";
    let listed = settings.text(name).split(',').map(str::trim);
    let listed = listed.filter(|address| !address.is_empty());
    listed
        .map(|address| {
            let url = if address.contains("://") {
                address.to_owned()
            } else {
                format!("http://{address}")
            };
            let url = Url::parse(&url).ok();
            url.filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
                .ok_or_else(|| {
                    let wanted = format!("'{address}' must be an address such as 127.0.0.1:11434");
                    settings.wrong(name, wanted)
                })
        })
        .collect()
}

/// What runs at these addresses now.
pub async fn once(addresses: &[Url]) -> Vec<Running> {
    let Ok(client) = Client::new(Timeouts::default(), RetryPolicy::default()) else {
        return Vec::new();
    };
    let mut places: Vec<Place> = addresses.iter().cloned().map(Place::new).collect();
    look(&client, &mut places).await
}

/// Looks at the addresses again and again, and gives the roster what runs there.
pub async fn watch(
    addresses: Vec<Url>,
    roster: Arc<Roster>,
    (told, default): (Told, Option<String>),
) {
    let client = roster.catalogue().client().clone();
    let mut places: Vec<Place> = addresses.into_iter().map(Place::new).collect();
    let mut known: Vec<Running> = Vec::new();
    loop {
        let found = look(&client, &mut places).await;
        if found != known {
            roster.find(found.clone());
        }
        roster.catalogue().end_first_look();
        if found != known {
            tell(&roster, (&known, &found), told, default.as_deref()).await;
            known = found;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Looks at all of them at once.
async fn look(client: &Client, places: &mut [Place]) -> Vec<Running> {
    let mut looking = tokio::task::JoinSet::new();
    for (at, place) in places.iter().enumerate() {
        let (address, client) = (place.address.clone(), client.clone());
        let is_due = place.is_due();
        looking.spawn(async move {
            let found = if !is_there(&address).await {
                Some(Found::Nobody)
            } else if is_due {
                Some(client.identify(&address).await)
            } else {
                None
            };
            (at, found)
        });
    }
    while let Some(looked) = looking.join_next().await {
        if let Ok((at, Some(found))) = looked
            && let Some(place) = places.get_mut(at)
        {
            place.take(found);
        }
    }
    places
        .iter()
        .filter_map(|place| place.running.clone())
        .collect()
}

/// Whether anything listens. It costs less than a question, and leaves nothing in most servers' logs.
async fn is_there(address: &Url) -> bool {
    let Ok(sockets) = address.socket_addrs(|| None) else {
        return false;
    };
    let connecting = TcpStream::connect(sockets.as_slice());
    matches!(tokio::time::timeout(PATIENCE, connecting).await, Ok(Ok(_)))
}

impl Place {
    const fn new(address: Url) -> Self {
        Self {
            address,
            running: None,
            asked: None,
            strangers: 0,
        }
    }

    /// Whether it is to be asked what it is: servers that are known, and strangers ever less often, are
    /// left in peace.
    fn is_due(&self) -> bool {
        let pause = match (&self.running, self.strangers) {
            (Some(_), _) => BELIEVED,
            (None, 0) => Duration::ZERO,
            (None, strangers) => (LOOK * 2_u32.pow(strangers.min(5))).min(BELIEVED),
        };
        self.asked.is_none_or(|asked| asked.elapsed() >= pause)
    }

    fn take(&mut self, found: Found) {
        self.asked = Some(Instant::now());
        match found {
            Found::Server(server) => {
                self.strangers = 0;
                let address = self.address.clone();
                self.running = Some(Running { server, address });
            }
            Found::Nobody => {
                self.strangers = 0;
                self.running = None;
            }
            Found::Stranger => {
                self.strangers = self.strangers.saturating_add(1);
                self.running = None;
            }
            // What it is shows when it has time.
            Found::Busy => {}
        }
    }
}

/// Says what came and went.
async fn tell(
    roster: &Roster,
    (before, now): (&[Running], &[Running]),
    told: Told,
    default: Option<&str>,
) {
    for gone in before.iter().filter(|running| !now.contains(running)) {
        let (server, address) = (gone.server.name(), gone.address.as_str());
        tracing::info!(server, address, "a model server is gone");
    }
    let listing = roster.catalogue().list().await;
    for endpoint in roster.catalogue().endpoints() {
        let is_new = |running: &Running| {
            let root = running.address.as_str().trim_end_matches('/');
            endpoint.base_url().starts_with(root) && !before.contains(running)
        };
        if endpoint.config().origin != Origin::Found || !now.iter().any(is_new) {
            continue;
        }
        let models = listing.models.iter().filter(|model| {
            model.kind == ModelKind::Llm && model.endpoint.name() == endpoint.name()
        });
        let handles: Vec<&str> = models.map(|model| model.handle.as_str()).collect();
        let what = format!(
            "Found {} at {} ({})",
            endpoint.name(),
            endpoint.base_url(),
            match handles.as_slice() {
                [] => "no models yet".to_owned(),
                [only] => format!("model {only}"),
                [first, ..] => format!("{} models, such as {first}", handles.len()),
            }
        );
        tracing::info!("{what}");
        if told == Told::Operator {
            say(what);
        }
    }
    if told == Told::Operator
        && default.is_none()
        && let Some(handle) = roster.catalogue().found_model().await
    {
        say(format!(
            "Agents get the model {handle} unless another is named"
        ));
    }
}

#[cfg(test)]
mod tests {
    use mnemic_llm::ModelServer;

    use super::*;

    fn place() -> Place {
        Place::new(Url::parse("http://127.0.0.1:1").unwrap())
    }

    #[test]
    fn what_is_free_or_busy_is_asked_each_time_and_what_is_known_is_left_in_peace() {
        let mut place = place();
        for found in [Found::Nobody, Found::Busy, Found::Nobody] {
            assert!(place.is_due());
            place.take(found);
            assert!(place.running.is_none());
        }
        place.take(Found::Server(ModelServer::Ollama));
        assert!(!place.is_due());
        place.take(Found::Busy);
        assert!(
            place.running.is_some(),
            "a server that has no time is still there"
        );
        place.take(Found::Stranger);
        assert!(place.running.is_none() && !place.is_due());
        place.take(Found::Nobody);
        assert!(place.is_due(), "something else may be started there");
    }
}
