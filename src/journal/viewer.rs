//! Who sees which records. An owner is a name; what it stands for is not known here.

/// Whoever uses the record. A viewer owns what it creates, and sees only that or everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    name: Option<String>,
    all: bool,
}

impl Viewer {
    /// Sees everything. What it creates belongs to nobody.
    #[must_use]
    pub fn everybody() -> Self {
        Self { name: None, all: true }
    }

    /// Owns what it creates. With `sees_all` it also sees what others own.
    #[must_use]
    pub fn named(name: String, sees_all: bool) -> Self {
        Self { name: Some(name), all: sees_all }
    }

    /// The owner of what this viewer creates.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The only owner whose rows this viewer sees; `None` if it sees all rows.
    pub(super) fn only(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| !self.all)
    }

    pub(super) fn sees(&self, owner: Option<&str>) -> bool {
        self.only().is_none_or(|only| owner == Some(only))
    }
}
