use std::fmt;

/// A table for people: a head, and columns as wide as what is in them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// A column's head, and on which side its cells stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Text.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

impl Table {
    pub(crate) fn new(head: impl IntoIterator<Item = Column>) -> Self {
        Self {
            head: head.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// As many cells as there are columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(row.len(), self.head.len());
        self.rows.push(row);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(self.head[column].name().len())
    }
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Column::Left(name) | Column::Right(name) => name,
        }
    }
}

/// Without a line end; a table without rows is its head.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.head.len()).map(|column| self.width(column)).collect();
        let head: Vec<String> = self.head.iter().map(|column| column.name().to_owned()).collect();
        for (n, row) in std::iter::once(&head).chain(&self.rows).enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            let cells =
                row.iter()
                    .zip(&widths)
                    .zip(&self.head)
                    .map(|((cell, &width), column)| match column {
                        Column::Left(_) => format!("{cell:<width$}"),
                        Column::Right(_) => format!("{cell:>width$}"),
                    });
            f.write_str(cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new([Column::Left("ORDER"), Column::Right("TOTAL"), Column::Left("WHY")]);
        table.row(["1".to_owned(), "12.50 EUR".to_owned(), String::new()]);
        table.row(["zwölf".to_owned(), "3.00 EUR".to_owned(), "DEADLINE".to_owned()]);
        let expected = "\
ORDER      TOTAL  WHY
1      12.50 EUR
zwölf   3.00 EUR  DEADLINE";
        assert_eq!(table.to_string(), expected);
    }
}
