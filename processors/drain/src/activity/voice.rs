//! Whose words a template is: an alert about a template that names its program can be followed to that program.

use serde::{Deserialize, Serialize};

/// Programs of one host that are told apart; the templates of those beyond are nobody's.
pub(super) const PROGRAMS_MAX: usize = 64;
/// Bytes of a program's name (RFC 5424, 6: APP-NAME); templates of a longer one are nobody's.
pub(super) const PROGRAM_BYTES_MAX: usize = 48;

/// Which program of a host writes a template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Voice {
    /// No line of it was counted yet.
    #[default]
    Unheard,
    /// All its lines are of one program: its number among the host's.
    One(u8),
    /// Several, or one whose name is not known.
    Nobody,
}

impl Voice {
    /// What it is once this other voice says the same.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unheard, voice) | (voice, Self::Unheard) => voice,
            (one, same) if one == same => one,
            _ => Self::Nobody,
        }
    }
}

/// The programs of a host, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Programs(Vec<Box<str>>);

impl Programs {
    /// The voice of a line of `app` whose template had `before`, which it most often keeps.
    pub(super) fn hear(&mut self, app: Option<&str>, before: Voice) -> Voice {
        if before == Voice::Nobody || (self.name(before).is_some() && self.name(before) == app) {
            return before;
        }
        let known = app.and_then(|app| self.number(app)).map_or(Voice::Nobody, Voice::One);
        before.and(known)
    }

    /// The name of a voice, if it is that of one program.
    pub(super) fn name(&self, voice: Voice) -> Option<&str> {
        match voice {
            Voice::One(number) => self.0.get(usize::from(number)).map(|name| &**name),
            Voice::Unheard | Voice::Nobody => None,
        }
    }

    /// Whether it can have come from a state.
    pub(super) fn is_sound(&self) -> bool {
        self.0.len() <= PROGRAMS_MAX && self.0.iter().all(|name| (1..=PROGRAM_BYTES_MAX).contains(&name.len()))
    }

    fn number(&mut self, app: &str) -> Option<u8> {
        let known = self.0.iter().position(|name| **name == *app);
        let has_room = self.0.len() < PROGRAMS_MAX && (1..=PROGRAM_BYTES_MAX).contains(&app.len());
        let number = known.or_else(|| {
            has_room.then(|| {
                self.0.push(app.into());
                self.0.len() - 1
            })
        })?;
        u8::try_from(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_of_a_program_until_another_says_it_too() {
        let mut programs = Programs::default();
        let first = programs.hear(Some("cron"), Voice::Unheard);
        assert_eq!(programs.name(first), Some("cron"));
        let still = programs.hear(Some("cron"), first);
        assert_eq!(programs.name(still), Some("cron"));
        assert_eq!(programs.hear(Some("sshd"), still), Voice::Nobody);
        assert_eq!(programs.hear(None, still), Voice::Nobody);
        assert_eq!(programs.hear(Some("cron"), Voice::Nobody), Voice::Nobody);
    }

    #[test]
    fn there_is_room_for_so_many_programs_and_no_more() {
        let mut programs = Programs::default();
        let names: Vec<String> = (0..PROGRAMS_MAX + 5).map(|n| format!("{n:0PROGRAM_BYTES_MAX$}")).collect();
        let voices: Vec<Voice> = names.iter().map(|name| programs.hear(Some(name), Voice::Unheard)).collect();
        assert_eq!(voices.iter().filter(|voice| programs.name(**voice).is_some()).count(), PROGRAMS_MAX);
        assert_eq!(programs.hear(Some(&"n".repeat(PROGRAM_BYTES_MAX + 1)), Voice::Unheard), Voice::Nobody);
        assert!(programs.is_sound());
    }
}
