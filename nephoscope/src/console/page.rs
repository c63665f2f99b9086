//! The page: static files, and the same overview as plain HTML for browsers without JavaScript.

use super::Overview;

/// The style sheet.
pub const STYLE: &str = include_str!("../../page/style.css");
/// The script.
pub const SCRIPT: &str = include_str!("../../page/app.js");
const INDEX: &str = include_str!("../../page/index.html");

/// The page with the overview already in it.
pub fn render(overview: &Overview) -> String {
    let alerts = overview
        .open_alerts
        .iter()
        .map(|alert| format!("<li class=\"alert {}\"><b>{}</b> {}</li>", alert.severity, escape(&alert.name), escape(&alert.message)));
    let sources = overview.sources.iter().map(|source| {
        let state = format!("{:?}", source.state);
        row(&[&source.name, &state.to_lowercase(), &source.records.to_string(), &source.reason])
    });
    let templates = overview.templates.iter().take(50).map(|template| {
        row(&[&template.last_hour.to_string(), &template.count.to_string(), if template.is_new { "new" } else { "" }, &template.text])
    });
    let stages = overview.stages.iter().map(|stage| {
        let rejects: u64 = stage.rejects.values().sum();
        row(&[&stage.name, stage.state, &stage.records.to_string(), &stage.lag.to_string(), &rejects.to_string()])
    });
    INDEX
        .replace("<!--alerts-->", &alerts.collect::<String>())
        .replace("<!--sources-->", &sources.collect::<String>())
        .replace("<!--templates-->", &templates.collect::<String>())
        .replace("<!--stages-->", &stages.collect::<String>())
}

fn row(cells: &[&str]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
    format!("<tr>{cells}</tr>")
}

/// Log content is hostile input.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_content_is_shown_and_never_interpreted() {
        let mut view = super::super::view::View::default();
        view.on_line(&schemas::ParsedLog { template: "<script>alert('x')</script>".into(), ..Default::default() });
        let overview = Overview {
            version: "0",
            now_ms: 0,
            lines: 1,
            templates_known: 1,
            templates: view.templates(schemas::EventTime(0), 1),
            open_alerts: vec![],
            resolved_alerts: vec![],
            hosts: vec![],
            sources: vec![],
            stages: vec![],
            losses: vec![],
        };
        let html = render(&overview);
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") && !html.contains("<script>alert"));
    }

    #[test]
    fn the_whole_page_is_small_and_asks_nobody_else() {
        let all = [INDEX, STYLE, SCRIPT];
        assert!(all.iter().map(|file| file.len()).sum::<usize>() < 150 << 10);
        assert!(all.iter().all(|file| !file.contains("https://") && !file.contains("innerHTML")));
    }
}
