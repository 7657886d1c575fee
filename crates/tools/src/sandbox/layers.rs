//! What this machine can close, tried out rather than guessed.

use std::fmt;

use super::Settings;

/// One way in which a tool is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Namespaces of its own for users, files, processes, network and messages.
    Namespaces,
    /// The kernel's rules for files and signals.
    Landlock,
    /// The filter of system calls.
    Seccomp,
    /// Limits per process.
    Rlimits,
    /// Limits per group of processes.
    Cgroups,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "Landlock",
            Self::Seccomp => "seccomp",
            Self::Rlimits => "rlimits",
            Self::Cgroups => "cgroups",
        })
    }
}

/// The layers, each with the reason why it is not active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    found: Vec<(Layer, Result<(), String>)>,
}

impl Layers {
    /// Tries each layer in a process of its own.
    #[cfg(target_os = "linux")]
    pub(crate) async fn probe(settings: &Settings) -> Self {
        let mut found = Vec::new();
        for layer in [Layer::Namespaces, Layer::Landlock, Layer::Seccomp] {
            let result = if settings.without.contains(&layer) {
                Err("switched off".to_owned())
            } else {
                super::launch::probe(settings, layer).await
            };
            found.push((layer, result));
        }
        found.push((Layer::Rlimits, Ok(())));
        let cgroups = "not used: what a call and its processes use together is measured instead";
        found.push((Layer::Cgroups, Err(cgroups.to_owned())));
        Self { found }
    }

    /// Only Linux has layers that close a tool in.
    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_async)]
    pub(crate) async fn probe(_settings: &Settings) -> Self {
        let reason = || Err(format!("{} does not have it", std::env::consts::OS));
        let all = [
            Layer::Namespaces,
            Layer::Landlock,
            Layer::Seccomp,
            Layer::Rlimits,
            Layer::Cgroups,
        ];
        Self {
            found: all.into_iter().map(|layer| (layer, reason())).collect(),
        }
    }

    /// Each layer: active, or why not.
    pub fn found(&self) -> &[(Layer, Result<(), String>)] {
        &self.found
    }

    /// Whether a layer is active.
    pub fn has(&self, layer: Layer) -> bool {
        self.found
            .iter()
            .any(|(one, result)| *one == layer && result.is_ok())
    }

    /// The layer with the reason why it is not active; none when it is.
    pub(crate) fn why(&self, layer: Layer) -> Option<String> {
        let (_, result) = self.found.iter().find(|(one, _)| *one == layer)?;
        let reason = result.as_ref().err()?;
        Some(format!("{layer}: {reason}"))
    }

    /// What is missing to keep tools in; none when nothing is. Files need namespaces or Landlock, sockets the filter.
    pub fn missing(&self) -> Option<String> {
        if let Some(reason) = self.why(Layer::Seccomp) {
            return Some(format!(
                "sockets and other calls of the system can't be closed ({reason})"
            ));
        }
        let namespaces = self.why(Layer::Namespaces)?;
        let landlock = self.why(Layer::Landlock)?;
        Some(format!("files can't be closed ({namespaces}; {landlock})"))
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (layer, result)) in self.found.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            match result {
                Ok(()) => write!(f, "{comma}{layer}")?,
                Err(reason) => write!(f, "{comma}no {layer} ({reason})")?,
            }
        }
        Ok(())
    }
}
