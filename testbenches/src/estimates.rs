//! Cells that yosys made of designs, as they were counted once, and the estimates of them.

use std::error::Error;
use std::fmt;

use plotters::prelude::*;
use rayon::prelude::*;
use stoxnor::area::Cells;

use crate::cores::estimate;

/// The counts: name of a design, part, and LUTs, carry cells, flip-flops, memories in LUTs and block RAMs, with tabs between them.
/// `cargo run --release -p stoxnor-testbenches --example estimate` writes it.
pub const COUNTED: &str = include_str!("../estimates.tsv");

/// The head of [`COUNTED`].
pub const HEAD: &str = "design\tpart\tlut\tcarry\tff\tlut_ram\tram";

/// The cells of a design on a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Name of the design, see [`crate::cores::design`].
    pub design: String,
    /// Name of the part.
    pub part: String,
    /// LUTs, carry cells, flip-flops, memories in LUTs and block RAMs.
    pub cells: [u64; 5],
}

impl Row {
    /// The row of a design.
    pub fn of(design: &str, part: &str, cells: Cells) -> Self {
        let Cells { lut, carry, ff, lut_ram, ram, .. } = cells;
        Self { design: design.into(), part: part.into(), cells: [lut, carry, ff, lut_ram, ram] }
    }

    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let count = |text: &&str| text.parse().expect("a number");
        let cells = fields[2..].iter().map(count).collect::<Vec<u64>>().try_into().expect("five numbers");
        Self { design: fields[0].into(), part: fields[1].into(), cells }
    }

    /// All rows of a table.
    pub fn all(table: &str) -> Vec<Self> {
        table.lines().skip(1).map(Self::parse).collect()
    }

    /// The estimate of the same design and part; `None` where its model is not there.
    ///
    /// # Panics
    /// If the design does not exist.
    pub fn estimate(&self) -> Option<Self> {
        let part = self.part.parse().expect("a part");
        let cells =
            estimate(&self.design, part).unwrap_or_else(|error| panic!("{}: {error}", self.design))?;
        Some(Self::of(&self.design, &self.part, cells))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}", self.design, self.part)?;
        self.cells.iter().try_for_each(|count| write!(f, "\t{count}"))
    }
}

/// Every counted row that `chosen` takes, with its estimate, where its model is there.
pub fn compared(chosen: impl Fn(&Row) -> bool + Sync) -> Vec<(Row, Row)> {
    let rows = Row::all(COUNTED).into_par_iter().filter(|row| chosen(row));
    rows.filter_map(|row| row.estimate().map(|estimate| (row, estimate))).collect()
}

const SIZE: (u32, u32) = (640, 480);
/// Each part's colour.
const COLOURS: [(&str, RGBColor); 4] = [
    ("ecp5-85k", RGBColor(31, 119, 180)),
    ("gw2a-18c", RGBColor(44, 160, 44)),
    ("ice40-hx8k", RGBColor(255, 127, 14)),
    ("xc7a100t", RGBColor(148, 103, 189)),
];

/// A plot of estimated LUTs against counted ones, as SVG.
///
/// # Errors
/// If it cannot be drawn.
pub fn plot(rows: &[(Row, Row)]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let range = (5.0..10_000.0).log_scale();
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .set_left_and_bottom_label_area_size(52)
            .build_cartesian_2d(range.clone(), range)?;
        chart.configure_mesh().x_desc("LUTs by yosys").y_desc("LUTs estimated").disable_mesh().draw()?;
        chart.draw_series(LineSeries::new([(5.0, 5.0), (10_000.0, 10_000.0)], RGBColor(128, 128, 128)))?;
        for (part, colour) in COLOURS {
            let own = rows.iter().filter(|(row, _)| row.part == part);
            let points = own.map(|(is, found)| (is.cells[0] as f64, found.cells[0] as f64));
            chart
                .draw_series(points.map(|point| Circle::new(point, 2, colour)))?
                .label(part)
                .legend(move |(x, y)| Circle::new((x + 8, y), 3, colour.filled()));
        }
        chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).draw()?;
        area.present()?;
    }
    Ok(svg)
}
