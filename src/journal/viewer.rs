//! Whose records are seen. An owner is a name; what it stands for is not known here.

/// Somebody who asks: what it makes belongs to it, and it sees what is its own, or everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    name: Option<String>,
    all: bool,
}

impl Viewer {
    /// Sees everything; what it makes belongs to nobody.
    #[must_use]
    pub fn everybody() -> Self {
        Self { name: None, all: true }
    }

    /// Owns what it makes; sees what others own as well where that is said.
    #[must_use]
    pub fn named(name: String, sees_all: bool) -> Self {
        Self { name: Some(name), all: sees_all }
    }

    /// The owner of what it makes.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The only owner whose rows it sees; `None` for all rows.
    pub(super) fn only(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| !self.all)
    }

    pub(super) fn sees(&self, owner: Option<&str>) -> bool {
        self.only().is_none_or(|only| owner == Some(only))
    }
}
