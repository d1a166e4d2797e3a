//! A small but genuine document to analyze: PDF 1.4 (ISO 32000), text in a standard font.

/// Lines per page; the first is the title.
pub(super) const PAGES: [&[&str]; 3] = [
    &[
        "Merger agreement - strictly confidential",
        "Between Northwind Holding and Contoso Limited, dated 14 November.",
        "The purchase price is 48,500,000 euro, payable at closing.",
        "Neither party may disclose this document or any part of it.",
    ],
    &[
        "Annex A: people",
        "Alice Example, chief executive, Northwind Holding",
        "Bob Sample, general counsel, Contoso Limited",
    ],
    &[
        "Annex B: schedule",
        "Signing on 1 December, closing on 15 January.",
        "Announcement: not before the markets close on the day of signing.",
    ],
];

/// The whole file.
pub(super) fn document() -> Vec<u8> {
    // Objects: 1 catalog, 2 page tree, 3 font, then a page and its content per page.
    let page_id = |index: usize| 4 + 2 * index;
    let kids: Vec<String> = (0..PAGES.len())
        .map(|index| format!("{} 0 R", page_id(index)))
        .collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Kids [{}] /Count {} >>",
            kids.join(" "),
            PAGES.len()
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    for (index, lines) in PAGES.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] \
             /Resources << /Font << /F1 3 0 R >> >> /Contents {} 0 R >>",
            page_id(index) + 1
        ));
        let content = content(lines);
        objects.push(format!(
            "<< /Length {} >>\nstream\n{content}\nendstream",
            content.len()
        ));
    }
    assemble(&objects)
}

fn content(lines: &[&str]) -> String {
    let mut text = String::from("BT 72 770 Td 28 TL");
    for (index, line) in lines.iter().enumerate() {
        let size = if index == 0 { 20 } else { 12 };
        text.push_str(&format!("\n/F1 {size} Tf ({}) Tj T*", escape(line)));
    }
    text + "\nET"
}

fn escape(line: &str) -> String {
    line.replace('\\', "\\\\")
        .replace('(', "\\(")
        .replace(')', "\\)")
}

/// Numbers the objects and appends the cross-reference table that readers seek by.
fn assemble(objects: &[String]) -> Vec<u8> {
    let mut file = String::from("%PDF-1.4\n");
    let mut table = String::from("0000000000 65535 f \n");
    for (index, object) in objects.iter().enumerate() {
        table.push_str(&format!("{:010} 00000 n \n", file.len()));
        file.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
    }
    let start = file.len();
    let size = objects.len() + 1;
    file.push_str(&format!(
        "xref\n0 {size}\n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n\
         startxref\n{start}\n%%EOF\n"
    ));
    file.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_points_at_every_object() {
        let file = String::from_utf8(document()).expect("ASCII");
        let (_, table) = file.split_once("xref\n0 ").expect("a table");
        let offsets = table
            .lines()
            .filter_map(|line| line.strip_suffix(" 00000 n "));
        let mut number = 0;
        for offset in offsets {
            number += 1;
            let offset: usize = offset.parse().expect("a number");
            assert!(file[offset..].starts_with(&format!("{number} 0 obj\n")));
        }
        assert_eq!(number, 3 + 2 * PAGES.len());
    }
}
