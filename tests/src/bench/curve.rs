//! The cost of a packet over the number of flows, drawn: both axes logarithmic.

use std::path::Path as File;

use anyhow::{Context, Result};
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color, EmptyElement, IntoDrawingArea, IntoLogRange, LineSeries,
    Palette, Palette99, PathElement, SVGBackend, SeriesLabelPosition, WHITE,
};
use plotters::series::PointSeries;

use super::datapath::{Path, Row};

const SIZE: (u32, u32) = (760, 460);

/// Draws CPU per packet, each path a line, into a file of SVG; `machine` is named in
/// the title.
///
/// # Errors
///
/// There is nothing to draw, or the file cannot be written.
pub fn draw(rows: &[Row], machine: &str, file: &File) -> Result<()> {
    let most = rows
        .iter()
        .map(|row| row.flows)
        .max()
        .context("no rows to draw")?;
    let highest = rows.iter().map(|row| row.cpu_ns).fold(1_000.0, f64::max);
    let lowest = rows.iter().map(|row| row.cpu_ns).fold(highest, f64::min);
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            format!("CPU per packet over flows ({machine})"),
            ("sans-serif", 15),
        )
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (1f64..f64::from(most) * 1.3).log_scale(),
            (lowest / 1.6..highest * 2.5).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("flows")
        .y_desc("ns of CPU per packet, sending included")
        .x_label_formatter(&|flows| format!("{flows:.0}"))
        .y_label_formatter(&|ns| format!("{ns:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    for (number, path) in Path::ALL.into_iter().enumerate() {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .filter(|row| row.path == path)
            .map(|row| (f64::from(row.flows), row.cpu_ns))
            .collect();
        let width = if path == Path::Steered { 3 } else { 1 };
        let style = Palette99::pick(number).stroke_width(width);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(path.title())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        chart.draw_series(PointSeries::of_element(
            points,
            3,
            style,
            &|at, size, style| EmptyElement::at(at) + Circle::new((0, 0), size, style.filled()),
        ))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()
        .with_context(|| format!("writing {}", file.display()))
}
