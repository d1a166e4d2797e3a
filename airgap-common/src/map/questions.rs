//! Questions of neighbours, which pay for the kernel's answers: those carry nothing
//! that the container could choose, and whoever asks shall not use up what the
//! container has for its own questions.

use super::Layer;

/// Most answers that a seal may be owed at once: also questions for the addresses
/// of others are counted, which nobody here answers.
pub const MAX_OWED: u64 = 256;

/// Value of `QUESTIONS`, by seal number.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Questions {
    /// ARP requests and neighbour solicitations that came in, while no more than
    /// [`MAX_OWED`] of them had no answer.
    pub asked: u64,
    /// Answers that passed for that, by [`Layer`].
    pub answered: [u64; 2],
}

impl Questions {
    /// Nobody asked.
    pub const ZERO: Self = Self {
        asked: 0,
        answered: [0; 2],
    };

    /// Whether one more question counts. Two at once may count one too many.
    #[inline(always)]
    pub const fn counts(&self) -> bool {
        self.asked < self.answered[Layer::Frame as usize].wrapping_add(MAX_OWED)
    }

    /// Whether an answer is owed.
    #[inline(always)]
    pub const fn owes(&self, layer: Layer) -> bool {
        self.answered[layer as usize] < self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_pays_one_answer_and_no_more_than_so_many_wait() {
        let mut questions = Questions::ZERO;
        assert!(!questions.owes(Layer::Frame) && !questions.owes(Layer::Cgroup));
        let mut counted = 0;
        for _ in 0..10 * MAX_OWED {
            counted += u64::from(questions.counts());
            questions.asked += u64::from(questions.counts());
        }
        assert_eq!(counted, MAX_OWED);
        let mut answers = 0;
        while questions.owes(Layer::Frame) {
            questions.answered[Layer::Frame as usize] += 1;
            answers += 1;
        }
        assert_eq!(answers, MAX_OWED);
        assert!(questions.counts());
        // Two took the last one at once.
        questions.answered[Layer::Frame as usize] += 1;
        assert!(!questions.owes(Layer::Frame) && questions.counts());
    }
}
