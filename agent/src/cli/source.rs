//! Where answers come from: the running agent, or the directory of a stopped one.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::client::{AgentClient, ClientError, Target};
use super::{EXIT_FAILED, EXIT_NOT_FOUND, Failure};
use crate::inspection::{InspectError, Question, Stopped, StoppedError};

/// Who answers.
pub(super) enum Source {
    /// The agent, and why it is asked and not the directory.
    Running(AgentClient, Option<StoppedError>),
    Stopped(Box<Stopped>),
}

impl Target {
    /// The directory where no process holds it, the running agent otherwise.
    pub(super) fn source(&self) -> Result<Source, Failure> {
        if self.names_agent() {
            return Ok(Source::Running(self.client()?, None));
        }
        match Stopped::open(self.config()?.store()) {
            Ok(stopped) => Ok(Source::Stopped(Box::new(stopped))),
            // Without a directory here, the agent may keep its own elsewhere and be reached all the same.
            Err(why @ (StoppedError::Running(_) | StoppedError::Absent(_))) => {
                Ok(Source::Running(self.client()?, Some(why)))
            }
            Err(error @ StoppedError::Unreadable(..)) => Err(anyhow::Error::from(error).into()),
        }
    }
}

impl Source {
    /// Reads something from the running agent.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        match self {
            Self::Running(client, why) => client
                .get(path)
                .await
                .map_err(|error| unanswered(error, why.as_ref())),
            Self::Stopped(_) => Err(anyhow::anyhow!("the agent does not run").into()),
        }
    }

    /// Orders something of the running agent.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<T, Failure> {
        match self {
            Self::Running(client, why) => client
                .post(path, limit)
                .await
                .map_err(|error| unanswered(error, why.as_ref())),
            Self::Stopped(_) => Err(anyhow::anyhow!("the agent does not run").into()),
        }
    }

    /// Asks.
    pub(super) async fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Failure> {
        match self {
            Self::Running(client, why) => client
                .ask(question)
                .await
                .map_err(|error| unanswered(error, why.as_ref())),
            Self::Stopped(stopped) => Ok(question.ask(&stopped.inspection())?),
        }
    }
}

/// Adds what the directory tells to a connection that nobody took.
pub(super) fn unanswered(error: ClientError, why: Option<&StoppedError>) -> Failure {
    match (&error, why) {
        (ClientError::Unreachable { .. }, Some(why)) => Failure {
            code: EXIT_FAILED,
            error: anyhow::anyhow!("{why}, and {error}"),
        },
        _ => error.into(),
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        let code = match &error {
            InspectError::NotFound(_) => EXIT_NOT_FOUND,
            _ => EXIT_FAILED,
        };
        Failure {
            code,
            error: error.into(),
        }
    }
}
