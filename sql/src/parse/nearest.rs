//! The name somebody probably meant.

/// The candidate that differs from `word` least, if it differs by few letters only; case does not
/// count.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const WORD_MAX: usize = 64;
    let word: Vec<char> = word.to_lowercase().chars().take(WORD_MAX).collect();
    let tolerated = (word.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out, changed or swapped with their neighbour.
fn distance(word: &[char], candidate: &str) -> usize {
    let candidate: Vec<char> = candidate.to_lowercase().chars().take(word.len() + 4).collect();
    let width = candidate.len() + 1;
    let mut rows: Vec<Vec<usize>> = vec![(0..width).collect()];
    for (row, letter) in word.iter().enumerate() {
        let mut line = vec![row + 1; width];
        for (column, other) in candidate.iter().enumerate() {
            let replaced = rows[row][column] + usize::from(letter != other);
            let mut least = replaced.min(rows[row][column + 1] + 1).min(line[column] + 1);
            let swapped = row > 0
                && column > 0
                && *letter == candidate[column - 1]
                && word[row - 1] == *other;
            if swapped {
                least = least.min(rows[row - 1][column - 1] + 1);
            }
            line[column + 1] = least;
        }
        rows.push(line);
    }
    rows[word.len()][candidate.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_wrong_letters_are_forgiven_and_more_are_not() {
        let words = ["SELECT", "SET", "SHOW", "CANCEL"];
        let cases = [
            ("SELCET", Some("SELECT")),
            ("selec", Some("SELECT")),
            ("CANCELL", Some("CANCEL")),
            ("shwo", Some("SHOW")),
            ("frobnicate", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}
