//! Limits: what agents, end users and keys may use by their plans. Where no plans are configured nothing is counted.

use std::collections::HashMap;

use mnemic_core::{
    ids::{AgentId, OrganizationId},
    messages::MessageBody,
    plans::{Holder, HolderKind, Limit, Measure, micros},
    runs::{Step, Usage},
    scope::Scope,
    time::Timestamp,
};
use mnemic_llm::Call;
use mnemic_store::{
    StoreError, Tx,
    limits::{self, Used, Window},
    own_threads, steps,
    usage::{self, StepUsage},
};

use parking_lot::Mutex;

use crate::{Engine, EngineError};

/// How long a measured size of what is stored is believed, in microseconds: to sum it up reads all of it.
const SIZE_MICROS: i64 = 60_000_000;

/// Sizes that are kept; when there are more, all are measured anew.
const MAX_SIZES: usize = 10_000;

/// How it stands with one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub limit: Limit,
    /// How much was used.
    pub used: i64,
    /// When it begins anew; none for what is stored.
    pub resets_at: Option<Timestamp>,
}

impl Standing {
    /// How much is left.
    #[must_use]
    pub const fn remaining(&self) -> i64 {
        let left = self.limit.most.saturating_sub(self.used);
        if left < 0 { 0 } else { left }
    }
}

/// A limit that a request would go beyond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReached {
    /// Whose limit it is.
    pub holder: Holder,
    /// The name of the plan.
    pub plan: String,
    /// The limit.
    pub reached: Standing,
    /// How it stands with the limits of an end user's plan; of agents and keys nothing is told to those who use them.
    pub standings: Vec<Standing>,
    /// When that was.
    pub now: Timestamp,
}

impl std::fmt::Display for LimitReached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Standing {
            limit, resets_at, ..
        } = &self.reached;
        let of = match self.holder.kind {
            HolderKind::Agent => "the agent",
            HolderKind::ApiKey => "the API key",
            HolderKind::User => "the user",
        };
        write!(
            f,
            "{of} has reached the limit {} = {} of the plan '{}': ",
            limit.name, limit.most, self.plan
        )?;
        match resets_at {
            Some(at) => write!(f, "nothing is left until {}", at.to_iso()),
            None => write!(f, "delete something, or take a larger plan"),
        }
    }
}

/// The plan of somebody, and how it stands with its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The plan, if there is one.
    pub plan: Option<String>,
    /// Whether it was given to them, and is not the usual one of their kind.
    pub is_own: bool,
    /// Its limits.
    pub standings: Vec<Standing>,
}

/// Bytes that were stored when somebody measured them.
#[derive(Debug, Default)]
pub(crate) struct Sizes(Mutex<HashMap<(OrganizationId, Holder), (i64, Timestamp)>>);

impl Sizes {
    fn get(&self, of: &(OrganizationId, Holder), now: Timestamp) -> Option<i64> {
        let sizes = self.0.lock();
        let (bytes, measured_at) = sizes.get(of)?;
        (now.0 - measured_at.0 < SIZE_MICROS).then_some(*bytes)
    }

    /// What somebody has stored is measured anew when it is asked for next.
    pub(crate) fn drop_all(&self) {
        self.0.lock().clear();
    }

    fn put(&self, of: (OrganizationId, Holder), bytes: i64, now: Timestamp) {
        let mut sizes = self.0.lock();
        if sizes.len() >= MAX_SIZES {
            sizes.clear();
        }
        sizes.insert(of, (bytes, now));
    }
}

/// Whose limits hold for what is asked of an agent.
fn holders(scope: &Scope, agent_id: AgentId) -> Vec<Holder> {
    let holder = |kind, id: Option<String>| id.map(|id| Holder { kind, id });
    let all = [
        holder(HolderKind::Agent, Some(agent_id.to_string())),
        holder(HolderKind::ApiKey, scope.key.map(|key| key.to_string())),
        holder(HolderKind::User, scope.subject.clone()),
    ];
    all.into_iter().flatten().collect()
}

const fn of(measure: Measure, used: Used) -> i64 {
    match measure {
        Measure::Messages => used.messages,
        Measure::Tokens => used.tokens,
        Measure::Cost => used.cost_micros,
        Measure::StoredBytes => 0,
    }
}

/// How it stands with the limits that count for a time.
fn standings(limits: &[Limit], windows: &[Window], now: Timestamp) -> Vec<Standing> {
    let timed = limits.iter().filter_map(|limit| {
        let period = limit.period?;
        let window = windows.iter().find(|window| window.period == period);
        Some(Standing {
            limit: *limit,
            used: window.map_or(0, |window| of(limit.measure, window.used)),
            resets_at: Some(period.end(now)),
        })
    });
    timed.collect()
}

impl Engine {
    /// Counts a request to an agent, and refuses it where a limit is reached. A refusal counts nothing: the transaction ends with
    /// it. Requests of agents to each other belong to the request that made them (`counts` is false).
    pub(crate) async fn admit(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        agent_id: AgentId,
        counts: bool,
    ) -> Result<(), EngineError> {
        let (plans, now) = (&self.settings().plans, self.now());
        if plans.is_empty() {
            return Ok(());
        }
        for holder in holders(scope, agent_id) {
            let (Some(name), _) = self.plan_of(tx, scope, &holder).await? else {
                continue;
            };
            let Some(plan) = plans.get(&name) else {
                continue;
            };
            let used = Used {
                messages: i64::from(counts),
                ..Used::default()
            };
            let windows = limits::add(tx, scope, &holder, (used, now)).await?;
            let standings = standings(&plan.limits, &windows, now).into_iter();
            // What was used before this request.
            let standings = standings.map(|standing| match standing.limit.measure {
                Measure::Messages => Standing {
                    used: standing.used - used.messages,
                    ..standing
                },
                _ => standing,
            });
            let standings: Vec<Standing> = standings.collect();
            let reached = standings.iter().find(|standing| {
                standing.remaining() == 0 && (counts || standing.limit.measure != Measure::Messages)
            });
            if let Some(reached) = reached.copied() {
                return Err(refused((holder, name), reached, standings, now));
            }
        }
        Ok(())
    }

    /// Refuses what would be stored, where as much is stored as somebody may have.
    ///
    /// # Errors
    /// There is no room, or the database's.
    pub(crate) async fn check_room(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        agent_id: Option<AgentId>,
    ) -> Result<(), EngineError> {
        if self.settings().plans.is_empty() {
            return Ok(());
        }
        let whose = match agent_id {
            Some(id) => holders(scope, id),
            None => holders(scope, AgentId::new()).split_off(1),
        };
        for holder in whose {
            self.check_room_of(tx, scope, holder).await?;
        }
        Ok(())
    }

    async fn check_room_of(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        holder: Holder,
    ) -> Result<(), EngineError> {
        let (Some(name), _) = self.plan_of(tx, scope, &holder).await? else {
            return Ok(());
        };
        match self.size_standing(tx, scope, (&holder, &name)).await? {
            Some(standing) if standing.remaining() == 0 => Err(refused(
                (holder, name),
                standing,
                vec![standing],
                self.now(),
            )),
            _ => Ok(()),
        }
    }

    /// How it stands with what somebody has stored, if their plan limits it. Keys have nothing stored.
    async fn size_standing(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        (holder, plan): (&Holder, &str),
    ) -> Result<Option<Standing>, EngineError> {
        let limits = self.settings().plans.get(plan).map(|plan| &plan.limits);
        let stored = |limit: &&Limit| limit.measure == Measure::StoredBytes;
        let Some(limit) = limits.and_then(|limits| limits.iter().find(stored)) else {
            return Ok(None);
        };
        let (scope, agent_id) = match holder.kind {
            HolderKind::Agent => {
                let id = holder.id.parse::<AgentId>();
                let id = id.map_err(|error| EngineError::Invalid(error.to_string()))?;
                (scope.common(), Some(id))
            }
            HolderKind::User => (scope.of_subject(Some(holder.id.clone())), None),
            HolderKind::ApiKey => return Ok(None),
        };
        let (of, now) = ((scope.organization, holder.clone()), self.now());
        let used = match self.inner.sizes.get(&of, now) {
            Some(bytes) => bytes,
            None => {
                let bytes = usage::stored_bytes(tx, &scope, agent_id).await?;
                self.inner.sizes.put(of, bytes, now);
                bytes
            }
        };
        Ok(Some(Standing {
            limit: *limit,
            used,
            resets_at: None,
        }))
    }

    /// The plan that holds for somebody, and whether it was given to them. One that is not configured any more is as none.
    async fn plan_of(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        holder: &Holder,
    ) -> Result<(Option<String>, bool), StoreError> {
        let plans = &self.settings().plans;
        let given = limits::plan_of(tx, scope, holder).await?;
        match given.filter(|name| plans.get(name).is_some()) {
            Some(name) => Ok((Some(name), true)),
            None => Ok((plans.usual(holder.kind).map(str::to_owned), false)),
        }
    }

    /// The plan of somebody, and how it stands with its limits.
    ///
    /// # Errors
    /// The database's.
    pub async fn allowance(&self, scope: &Scope, holder: Holder) -> Result<Allowance, EngineError> {
        let (engine, scope) = (self.clone(), scope.clone());
        let read = self.store().read(move |tx| {
            Box::pin(async move {
                let (plan, is_own) = engine.plan_of(tx, &scope, &holder).await?;
                let Some(name) = &plan else {
                    return Ok(Allowance {
                        plan,
                        is_own,
                        standings: Vec::new(),
                    });
                };
                let now = engine.now();
                let windows = limits::used(tx, &scope, &holder, now).await?;
                let limits = engine.settings().plans.get(name);
                let limits = limits.map_or(&[][..], |plan| &plan.limits);
                let mut standings = standings(limits, &windows, now);
                let size = engine.size_standing(tx, &scope, (&holder, name)).await?;
                standings.extend(size);
                Ok::<_, EngineError>(Allowance {
                    plan,
                    is_own,
                    standings,
                })
            })
        });
        read.await
    }

    /// Adds what a call of a model took to what those used whose limits hold for it.
    pub(crate) async fn note_usage(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        agent_id: AgentId,
        (endpoint, model, usage): (Option<&str>, &str, &Usage),
    ) -> Result<(), StoreError> {
        let (settings, now) = (self.settings(), self.now());
        let tokens = usage.prompt_tokens.saturating_add(usage.completion_tokens);
        if settings.plans.is_empty() || tokens == 0 {
            return Ok(());
        }
        let price = endpoint.and_then(|url| settings.prices.price(url, model, now));
        let used = Used {
            messages: 0,
            tokens,
            cost_micros: price.map_or(0, |price| micros(price.of(usage).amount)),
        };
        for holder in holders(scope, agent_id) {
            if holder.kind == HolderKind::User
                && !own_threads::is_known(tx, scope, agent_id).await?
            {
                // Who was forgotten meanwhile is not counted again.
                continue;
            }
            if self.plan_of(tx, scope, &holder).await?.0.is_some() {
                limits::add(tx, scope, &holder, (used, now)).await?;
            }
        }
        Ok(())
    }

    /// Counts a call of a model that is no step of a run. A failure is only told to the log: the call itself has succeeded.
    pub(crate) async fn record_call(
        &self,
        scope: &Scope,
        agent_id: AgentId,
        call: &Call,
        usage: Option<&Usage>,
    ) {
        let Some(usage) = usage.copied() else { return };
        let took = StepUsage {
            endpoint: Some(call.endpoint.base_url().to_owned()),
            model: call.model.clone(),
            usage,
        };
        let (engine, scope) = (self.clone(), scope.clone());
        let written = self.store().write(move |tx| {
            Box::pin(async move {
                usage::note_call(tx, &scope, agent_id, &took, engine.now()).await?;
                let call = (took.endpoint.as_deref(), took.model.as_str(), &took.usage);
                engine.note_usage(tx, &scope, agent_id, call).await
            })
        });
        let written: Result<(), StoreError> = written.await;
        if let Err(error) = written {
            tracing::warn!(agent = %agent_id, %error, "what a call took is not counted");
        }
    }

    /// Stores a step, and counts what it took.
    pub(crate) async fn record_step(
        &self,
        tx: &mut Tx<'_>,
        scope: &Scope,
        step: &Step,
        answer: Option<&MessageBody>,
    ) -> Result<(), StoreError> {
        steps::insert(tx, scope, step, answer).await?;
        let endpoint = step.model_endpoint.as_deref();
        let took = (endpoint, step.model.as_str(), &step.usage);
        self.note_usage(tx, scope, step.agent_id, took).await
    }
}

fn refused(
    (holder, plan): (Holder, String),
    reached: Standing,
    standings: Vec<Standing>,
    now: Timestamp,
) -> EngineError {
    let standings = match holder.kind {
        HolderKind::User => standings,
        HolderKind::Agent | HolderKind::ApiKey => Vec::new(),
    };
    EngineError::LimitReached(Box::new(LimitReached {
        holder,
        plan,
        reached,
        standings,
        now,
    }))
}
