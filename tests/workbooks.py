"""Workbooks written by hand, as spreadsheet programs write them: xlsx and ods."""

import zipfile

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "urn:oasis:names:tc:opendocument:xmlns"


def write_xlsx(path, sheets, merged=(), hidden=()):
    """Write a workbook; a number in a column named date is shown as a date."""
    names = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}" state="{"hidden" if name in hidden else "visible"}"/>'
        for n, name in enumerate(sheets, start=1)
    )
    kinds = f'Type="{REL}/worksheet"'
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/>'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            "</Types>",
        )
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1" Type="{REL}/officeDocument"'
            ' Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{REL}"><sheets>{names}</sheets></workbook>'
        )
        links = "".join(
            f'<Relationship Id="rId{n}" {kinds} Target="worksheets/sheet{n}.xml"/>' for n in range(1, len(sheets) + 1)
        )
        styles = f'<Relationship Id="rId99" Type="{REL}/styles" Target="styles.xml"/>'
        file.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships">{links}{styles}</Relationships>',
        )
        file.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{MAIN}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
            "</styleSheet>",
        )
        for n, rows in enumerate(sheets.values(), start=1):
            lines = "".join(f'<row r="{r}">{xlsx_row(r, row, rows[0])}</row>' for r, row in enumerate(rows, start=1))
            cells = "".join(f'<mergeCell ref="{each}"/>' for each in merged)
            joined = f"<mergeCells>{cells}</mergeCells>" if merged else ""
            file.writestr(
                f"xl/worksheets/sheet{n}.xml",
                f'<worksheet xmlns="{MAIN}"><sheetData>{lines}</sheetData>{joined}</worksheet>',
            )


def xlsx_row(number, row, header):
    cells = []
    for place, value in enumerate(row):
        where = f'r="{chr(ord("A") + place)}{number}"'
        if isinstance(value, str) and value:
            cells.append(f'<c {where} t="inlineStr"><is><t>{value}</t></is></c>')
        elif value != "":
            style = ' s="1"' if header[place : place + 1] == ["date"] else ""
            cells.append(f"<c {where}{style}><v>{value!r}</v></c>")
    return "".join(cells)


def write_ods(path, rows):
    def cell(value):
        if isinstance(value, str):
            return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'
        return f'<table:table-cell office:value-type="float" office:value="{value!r}"/>'

    lines = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    spaces = " ".join(f'xmlns:{each}="{OFFICE}:{each}:1.0"' for each in ("office", "table", "text"))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        file.writestr(
            "META-INF/manifest.xml",
            f'<manifest:manifest xmlns:manifest="{OFFICE}:manifest:1.0"><manifest:file-entry manifest:full-path="/"'
            ' manifest:media-type="application/vnd.oasis.opendocument.spreadsheet"/></manifest:manifest>',
        )
        file.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body><office:spreadsheet><table:table table:name='a'>{lines}"
            "</table:table></office:spreadsheet></office:body></office:document-content>",
        )
