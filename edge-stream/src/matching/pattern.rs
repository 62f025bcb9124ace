//! A pattern, and the program that it is run as.

/// What `PATTERN` says. Variables are numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub(crate) enum Pattern {
    Variable(usize),
    Concat(Vec<Pattern>),
    /// One of these, the first that leads to a match.
    Either(Vec<Pattern>),
    Repeat {
        of: Box<Pattern>,
        least: u32,
        most: Option<u32>,
        is_greedy: bool,
    },
}

/// Why a pattern cannot be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It takes no row, if nothing else fits.
    Empty,
    /// Its repetitions, written out, have more steps than there may be.
    TooLong,
    /// `{3,2}`
    Reversed,
    /// What is repeated without end may take no row.
    EmptyLoop,
}

/// Steps of a program. Each is looked at once for a row at most, by each of what is followed.
const MAX_STEPS: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Takes a row as this variable.
    Row(usize),
    /// Goes on at both, and prefers the first.
    Either(usize, usize),
    Jump(usize),
    Found,
}

/// A pattern as steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(super) steps: Vec<Step>,
}

impl Pattern {
    fn may_be_empty(&self) -> bool {
        match self {
            Pattern::Variable(_) => false,
            Pattern::Concat(parts) => parts.iter().all(Pattern::may_be_empty),
            Pattern::Either(parts) => parts.iter().any(Pattern::may_be_empty),
            Pattern::Repeat { of, least, .. } => *least == 0 || of.may_be_empty(),
        }
    }

    /// Whether each match has a row of this variable.
    pub(crate) fn requires(&self, variable: usize) -> bool {
        match self {
            Pattern::Variable(own) => *own == variable,
            Pattern::Concat(parts) => parts.iter().any(|part| part.requires(variable)),
            Pattern::Either(parts) => parts.iter().all(|part| part.requires(variable)),
            Pattern::Repeat { of, least, .. } => *least > 0 && of.requires(variable),
        }
    }
}

impl Program {
    pub(crate) fn new(pattern: &Pattern) -> Result<Program, Unusable> {
        if pattern.may_be_empty() {
            return Err(Unusable::Empty);
        }
        let mut program = Program { steps: Vec::new() };
        program.add(pattern)?;
        program.push(Step::Found)?;
        Ok(program)
    }

    fn push(&mut self, step: Step) -> Result<usize, Unusable> {
        if self.steps.len() >= MAX_STEPS {
            return Err(Unusable::TooLong);
        }
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    fn add(&mut self, pattern: &Pattern) -> Result<(), Unusable> {
        match pattern {
            Pattern::Variable(variable) => self.push(Step::Row(*variable)).map(drop),
            Pattern::Concat(parts) => parts.iter().try_for_each(|part| self.add(part)),
            Pattern::Either(parts) => self.add_either(parts),
            Pattern::Repeat { most: Some(most), least, .. } if most < least => {
                Err(Unusable::Reversed)
            }
            Pattern::Repeat { of, least, most, is_greedy } => {
                (0..*least).try_for_each(|_| self.add(of))?;
                match most {
                    None if of.may_be_empty() => Err(Unusable::EmptyLoop),
                    None => self.add_loop(of, *is_greedy),
                    Some(most) => self.add_optional(of, most - least, *is_greedy),
                }
            }
        }
    }

    fn add_either(&mut self, parts: &[Pattern]) -> Result<(), Unusable> {
        let Some((first, rest)) = parts.split_first() else { return Ok(()) };
        if rest.is_empty() {
            return self.add(first);
        }
        let choice = self.push(Step::Either(0, 0))?;
        self.add(first)?;
        let end = self.push(Step::Jump(0))?;
        self.steps[choice] = Step::Either(choice + 1, self.steps.len());
        self.add_either(rest)?;
        self.steps[end] = Step::Jump(self.steps.len());
        Ok(())
    }

    /// `of*`
    fn add_loop(&mut self, of: &Pattern, is_greedy: bool) -> Result<(), Unusable> {
        let choice = self.push(Step::Either(0, 0))?;
        self.add(of)?;
        self.push(Step::Jump(choice))?;
        self.steps[choice] = either(is_greedy, choice + 1, self.steps.len());
        Ok(())
    }

    /// `of{0,most}`
    fn add_optional(&mut self, of: &Pattern, most: u32, is_greedy: bool) -> Result<(), Unusable> {
        let mut choices = Vec::new();
        for _ in 0..most {
            choices.push(self.push(Step::Either(0, 0))?);
            self.add(of)?;
        }
        let end = self.steps.len();
        for choice in choices {
            self.steps[choice] = either(is_greedy, choice + 1, end);
        }
        Ok(())
    }
}

fn either(is_greedy: bool, more: usize, end: usize) -> Step {
    if is_greedy { Step::Either(more, end) } else { Step::Either(end, more) }
}
