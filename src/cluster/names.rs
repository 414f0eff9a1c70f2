//! What topics and groups are called. Pure: the one place that spells them.

/// The names of one cluster, which all begin with `cluster.name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    name: String,
}

impl Names {
    /// The names that begin with `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// What they begin with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Raw pages, as received.
    #[must_use]
    pub fn pages(&self) -> String {
        self.of("pages")
    }

    /// Records, a partition a lane. Another number of lanes is another epoch, with a topic of its own.
    #[must_use]
    pub fn lanes(&self, epoch: u32) -> String {
        self.of(&format!("lanes-{epoch}"))
    }

    /// Odd tokens by identity, parked records by content hash.
    #[must_use]
    pub fn quarantine(&self) -> String {
        self.of("quarantine")
    }

    /// Pages that no key opens, or at which routers died.
    #[must_use]
    pub fn waiting(&self) -> String {
        self.of("waiting")
    }

    /// What everybody has to know, by key.
    #[must_use]
    pub fn status(&self) -> String {
        self.of("status")
    }

    /// The group of those who route pages to the lanes of an epoch. Each epoch has its own, so that a machine that still works in an old
    /// one does not commit pages for the new one.
    #[must_use]
    pub fn route_group(&self, epoch: u32) -> String {
        self.group(&format!("route-{epoch}"))
    }

    /// The group of those who own lanes.
    #[must_use]
    pub fn own_group(&self, epoch: u32) -> String {
        self.group(&format!("own-{epoch}"))
    }

    /// The group whose offsets say how far `waiting` has been looked through.
    #[must_use]
    pub fn waiting_group(&self) -> String {
        self.group("waiting")
    }

    fn of(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    fn group(&self, what: &str) -> String {
        format!("{}-{what}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_pinned_since_they_are_stored() {
        let names = Names::new("logs");
        let topics = [names.pages(), names.lanes(2), names.quarantine(), names.waiting(), names.status()];
        assert_eq!(topics, ["logs.pages", "logs.lanes-2", "logs.quarantine", "logs.waiting", "logs.status"]);
        let groups = [names.route_group(2), names.own_group(2), names.waiting_group()];
        assert_eq!(groups, ["logs-route-2", "logs-own-2", "logs-waiting"]);
    }
}
