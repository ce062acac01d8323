//! How things look, with colours and without.

use ratatui::style::{Color, Modifier, Style};

/// Colours, unless `NO_COLOR` forbids them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) has_colour: bool,
}

impl Theme {
    pub(super) fn from_env() -> Self {
        Self { has_colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn colour(self, colour: Color) -> Style {
        if self.has_colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn title(self) -> Style {
        self.colour(Color::LightRed).add_modifier(Modifier::BOLD)
    }

    pub(super) fn border(self) -> Style {
        self.colour(Color::DarkGray)
    }

    pub(super) fn good(self) -> Style {
        self.colour(Color::Green)
    }

    pub(super) fn bad(self) -> Style {
        self.colour(Color::Red)
    }

    pub(super) fn warning(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    pub(super) fn faint(self) -> Style {
        self.colour(Color::DarkGray)
    }

    pub(super) fn key() -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    pub(super) fn heading(self) -> Style {
        self.colour(Color::LightCyan).add_modifier(Modifier::BOLD)
    }

    /// The row one is at.
    pub(super) fn cursor(self) -> Style {
        if self.has_colour {
            Style::new().fg(Color::White).bg(Color::Blue)
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    /// The lines of several classes in one graph.
    pub(super) fn line(self, at: usize) -> Style {
        const COLOURS: [Color; 6] = [
            Color::LightBlue,
            Color::LightCyan,
            Color::LightYellow,
            Color::LightRed,
            Color::LightGreen,
            Color::LightMagenta,
        ];
        self.colour(COLOURS[at % COLOURS.len()])
    }
}
