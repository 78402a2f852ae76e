//! Which columns and tables a goal's words stand for, where they name neither exactly.

use super::Key;
use super::wanted::Find;
use crate::attached::ColumnAt;
use bandmaster_tools::tables::Kind;

impl Find<'_, '_> {
    /// "Which employees", where a column of keys is called so, are asked for by their names.
    pub(super) fn named_rows(&self, columns: &[ColumnAt]) -> Option<Key> {
        let attached = self.marked.attached;
        let is_key = |at: &ColumnAt| attached.joins.iter().any(|pair| pair.contains(at));
        let key = columns.iter().find(|at| is_key(at) && attached.is_unique(**at))?;
        Some(Key::Column(self.label(key.0)))
    }

    pub(super) fn key(&self, columns: &[ColumnAt]) -> Option<Key> {
        let base = self.counted_table().or_else(|| self.only_table());
        let column =
            base.and_then(|base| self.in_table(columns, base)).or_else(|| columns.first().copied())?;
        Some(Key::Column(column))
    }

    pub(super) fn dates(&self) -> Option<ColumnAt> {
        self.only(|column| matches!(column.kind, Kind::Date | Kind::DateTime))
    }

    pub(super) fn people(&self) -> Option<ColumnAt> {
        const PEOPLE: &[&str] = &[
            "person",
            "employee",
            "name",
            "member",
            "author",
            "driver",
            "customer",
            "teacher",
            "student",
            "staff",
            "worker",
            "seller",
            "salesperson",
            "rep",
            "owner",
            "assignee",
            "agent",
            "player",
            "user",
            "doctor",
            "guide",
            "volunteer",
        ];
        self.only(|column| {
            column.kind == Kind::Text
                && PEOPLE
                    .iter()
                    .any(|people| column.name == *people || column.name.ends_with(&format!("_{people}")))
        })
    }

    fn only(&self, is: impl Fn(&bandmaster_tools::tables::Column) -> bool) -> Option<ColumnAt> {
        let tables = self.marked.attached.tables.iter().enumerate();
        let mut all = tables.flat_map(|(table, of)| (0..of.columns.len()).map(move |column| (table, column)));
        let first = all.by_ref().find(|at| is(self.marked.attached.column(*at)))?;
        all.all(|at| !is(self.marked.attached.column(at))).then_some(first)
    }

    pub(super) fn in_table(&self, columns: &[ColumnAt], table: usize) -> Option<ColumnAt> {
        columns.iter().copied().find(|at| at.0 == table)
    }

    /// The column that tells the rows of a table apart for people.
    pub(super) fn label(&self, table: usize) -> ColumnAt {
        let columns = &self.marked.attached.tables[table].columns;
        let named = columns.iter().position(|column| {
            ["name", "title", "label"]
                .iter()
                .any(|name| column.name == *name || column.name.ends_with(&format!("_{name}")))
        });
        let is_key = |at: ColumnAt| self.marked.attached.joins.iter().any(|pair| pair.contains(&at));
        let unique = |text: bool| {
            (0..columns.len()).find(|at| {
                let own = (table, *at);
                (columns[*at].kind == Kind::Text) == text
                    && is_key(own) != text
                    && self.marked.attached.is_unique(own)
            })
        };
        (
            table,
            named
                .or_else(|| unique(true))
                .or_else(|| unique(false))
                .or_else(|| (0..columns.len()).find(|at| self.marked.attached.is_unique((table, *at))))
                .unwrap_or(0),
        )
    }

    pub(super) fn only_table(&self) -> Option<usize> {
        (self.marked.attached.tables.len() == 1).then_some(0)
    }

    /// The first table that the goal names.
    pub(super) fn counted_table(&self) -> Option<usize> {
        self.marked.names.iter().find_map(|name| name.table)
    }
}
