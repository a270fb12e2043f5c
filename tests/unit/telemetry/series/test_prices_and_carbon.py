"""Prices and carbon intensity: columns, units, kinds, forms of text."""

import pytest

from telemetry.series import read, read_carbon, read_prices, recognise_series_kind
from twin.errors import SeriesError

MAPS = (
    "Datetime (UTC),Country,Zone Name,Zone Id,Carbon Intensity gCO₂eq/kWh (direct),"
    "Carbon Intensity gCO₂eq/kWh (LCA),Data Estimated\n"
    "2023-01-01 00:00:00,Spain,Spain,ES,100.5,150,false\n"
    "2023-01-01 01:00:00,Spain,Spain,ES,101.5,151,false\n"
)
JOINED = "time_utc,price_eur_mwh,ci_direct,ci_lca\n"


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a text to a file with a neutral name."""

    def put(text, name="series.dat", encoding="utf-8"):
        path = tmp_path / name
        path.write_text(text, encoding=encoding)
        return path

    return put


def _two_hours(header, first="1", second="2"):
    return f"{header}\n2023-01-01T00:00Z,{first}\n2023-01-01T01:00Z,{second}\n"


@pytest.mark.parametrize(
    ("header", "factor"),
    [
        ("price_eur_mwh", 1.0),
        ("Price (EUR/MWh)", 1.0),
        ("Price (EUR/MWhe)", 1.0),
        ("Day-ahead Price [€/MWh]", 1.0),
        ("EUR_per_kWh", 1000.0),
        ("Price (EUR/kWh)", 1000.0),
        ("price ct/kWh", 10.0),
    ],
)
def test_unit_of_the_header_is_converted(write, header, factor):
    prices = read_prices(write(_two_hours(f"time,{header}")))
    assert prices["electricity_price"].values == pytest.approx([factor, 2 * factor])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("SEK_per_kWh", r"price = SEK_per_kWh: .*\[wrong-unit\]"),
        ("Price (GBP/MWh)", "convert it to EUR/MWh"),
        ("EUR_per_GWh", "convert it to EUR/MWh"),
        ("price", r"price = price: .*\[wrong-unit\]"),
        ("volume", r"time, volume: price_eur_mwh.*\[missing\]"),
    ],
)
def test_foreign_units_and_missing_columns_are_refused(write, header, expected):
    with pytest.raises(SeriesError, match=expected):
        read_prices(write(_two_hours(f"time,{header}")))


def test_two_price_columns_are_refused(write):
    text = "time,EUR_per_kWh,{}\n2023-01-01T00:00Z,1,9\n2023-01-01T01:00Z,2,9\n"
    with pytest.raises(SeriesError, match=r"price = .*\[duplicate\]"):
        read_prices(write(text.format("price_eur_mwh")))
    prices = read_prices(write(text.format("NOK_per_kWh")))
    assert prices["electricity_price"].values.tolist() == [1000, 2000]


def test_byte_order_mark_semicolons_and_decimal_commas(write):
    text = "time_utc;price_eur_mwh\n2023-01-01T00:00;-1,5\n2023-01-01T01:00;1.234,5\n\n"
    prices = read_prices(write(text, encoding="utf-8-sig"))
    assert prices["electricity_price"].values.tolist() == [-1.5, 1234.5]


def _column(*cells):
    rows = [f"2023-01-01T0{hour}:00;{cell}" for hour, cell in enumerate(cells)]
    return "\n".join(["time_utc;price_eur_mwh", *rows])


def test_decimal_comma_defines_dots_in_its_column(write):
    prices = read_prices(write(_column("998,5", "1.002", "-1.004,5", "", "7")))
    assert prices["electricity_price"].values.tolist() == [998.5, 1002.0, -1004.5, -498.75, 7.0]
    prices = read_prices(write(_column("998.5", "1.002")))
    assert prices["electricity_price"].values.tolist() == [998.5, 1.002]


@pytest.mark.parametrize("cell", ["3.5", "0.250", "1.00", "1,002.5", "1.5e3", "1.0.002", ".002"])
def test_ambiguous_dot_is_refused(write, cell):
    with pytest.raises(SeriesError, match=rf"row 3, .*{cell}.*with a decimal comma"):
        read_prices(write(_column("998,5", cell)))


def test_single_comma_among_points_is_named(write):
    """Proves: among many dots, the one cell with a comma is named."""
    path = write(_column(*["41.5"] * 7, "42,5"), name="prices.csv")
    with pytest.raises(SeriesError, match=r"has 1 issue\n.*row 9, .*'42,5': .*a decimal point"):
        read_prices(path)


def test_euro_sign_of_windows_is_read(write):
    text = "time_utc;Preis (€/MWh)\n2023-06-01T00:00;-1,5\n2023-06-01T01:00;2,5\n"
    prices = read_prices(write(text, encoding="cp1252"))
    assert prices["electricity_price"].values.tolist() == [-1.5, 2.5]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_unicode_text_of_a_spreadsheet_is_read(write, encoding):
    text = "time_utc\tprice_eur_mwh\tOrt\n2023-01-01T00:00\t-1,5\tKöln\n2023-01-01T01:00\t2\tx\n"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    prices = read_prices(write(mark + text, encoding=encoding))
    assert prices["electricity_price"].values.tolist() == [-1.5, 2.0]


def test_utf_16_without_byte_order_mark_is_reported(write):
    text = _two_hours("time,price_eur_mwh")
    with pytest.raises(SeriesError, match=r"binary data: .*\[invalid-format\]"):
        read_prices(write(text, encoding="utf-16-le"))


@pytest.mark.parametrize("rows", [3, 20, 20_000])
def test_unclosed_quote_is_reported_at_its_start(write, rows):
    """Proves: the row of the quote is named, however long the cell is."""
    stamps = [f"2023-01-01T00:00Z,{row}" for row in range(rows)]
    stamps[1] = '2023-01-01T01:00Z,"1'
    path = write("\n".join(["time,price_eur_mwh", "", *stamps]), name="prices.csv")
    with pytest.raises(SeriesError, match=r"row 4 = '2023-01-01T01:00Z,\"1': .*\[invalid-format\]"):
        read_prices(path)


def test_cell_with_several_lines_is_read(write):
    """Proves: line ends between quotes are accepted; rows are counted by their first line."""
    text = (
        'time,price_eur_mwh,"of\nus"\n2023-01-01T00:00Z,1,"a\n""b"""\n2023-01-01T01:00Z,2,"c\nd"\n'
    )
    assert read_prices(write(text))["electricity_price"].values.tolist() == [1, 2]
    path = write(text.replace(",2,", ",x,"), name="prices.csv")
    with pytest.raises(SeriesError, match="row 5, electricity_price = 'x'"):
        read_prices(path)


@pytest.mark.parametrize("cell", ["", "NaN", "null", "-"])
def test_blank_cells_are_gaps(write, cell):
    rows = [f"2023-01-01T0{hour}:00Z,{cell if hour == 1 else hour}" for hour in range(4)]
    prices = read_prices(write("\n".join(["time,price_eur_mwh", *rows])))
    assert prices["electricity_price"].values.tolist() == [0, 1, 2, 3]
    assert prices.attrs["gaps"] == ["2023-01-01T01:00Z/2023-01-01T02:00Z"]


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "n.v.", "1e9"])
def test_bad_cells_name_their_row(write, cell):
    path = write(_two_hours("time,price_eur_mwh", second=cell), name="prices.csv")
    with pytest.raises(SeriesError, match=r"prices.csv, row 3, electricity_price"):
        read_prices(path)


def test_broken_files_are_refused(write, tmp_path):
    with pytest.raises(SeriesError, match=r"row 3 = 3 cells: 2 cells.*\[invalid-format\]"):
        read_prices(write("time,price_eur_mwh\n2023-01-01T00:00Z,1\n2023-01-01T01:00Z,1,2\n"))
    with pytest.raises(SeriesError, match=r"row 3 = field larger .*: .*\[invalid-format\]"):
        read_prices(write("time,price_eur_mwh\n2023-01-01T00:00Z,1\n" + 200_000 * "x"))
    with pytest.raises(SeriesError, match=r"an empty file: .*\[invalid-format\]"):
        read_prices(write("\n"))
    with pytest.raises(SeriesError, match=r"only separators: .*\[invalid-format\]"):
        read_prices(write(",,\n , \n"))
    with pytest.raises(SeriesError, match=r"\[file-error\]"):
        read_prices(tmp_path / "none.csv")
    with pytest.raises(SeriesError, match=r"header = .*\[duplicate\]"):
        read_prices(write(_two_hours("time,time")))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"latitude": 50.1,\n"hourly": {"time": []}}', "= latitude, hourly|= hourly, latitude"),
        ("LOCATION,Granada\nDESIGN CONDITIONS,1", r"= weather \(EPW\)"),
        ("#1\ndouble tab1(8760,30)", r"= weather \(.mos\)"),
    ],
)
def test_file_of_another_kind_is_named(write, text, what):
    """Proves: weather given as prices. Sensitivity: "43811 rows, 2 cells: the header has 1"."""
    with pytest.raises(SeriesError, match=rf"has 1 issue\n.*({what}): .*\[invalid-format\]"):
        read_prices(write(text))


def test_electricity_maps_has_two_kinds(write):
    path = write(MAPS)
    assert read_carbon(path)["carbon_intensity"].values.tolist() == [100.5, 101.5]
    assert read_carbon(path, kind="lca")["carbon_intensity"].values.tolist() == [150, 151]
    newer = write(MAPS.replace("(LCA)", "(Life cycle)").replace("Intensity", "intensity"))
    assert read_carbon(newer, kind="lca")["carbon_intensity"].values.tolist() == [150, 151]


def test_intensity_of_another_country_is_noted(write):
    for zone in ("ES", "Europe/Madrid"):
        assert not any(
            "right file" in note for note in read_carbon(write(MAPS), zone=zone).attrs["notes"]
        )
    for zone in ("DE-LU", "DE_LU", "de_lu"):
        notes = read_carbon(write(MAPS), zone=zone).attrs["notes"]
        assert notes[-1] == f"Zone Id: intensity of ES, for a site in {zone}; is it the right file?"


def test_absent_kind_is_refused_with_the_known_ones(write):
    path = write("time_utc,ci_lca\n2023-01-01T00:00,1\n2023-01-01T01:00,2\n")
    with pytest.raises(SeriesError, match=r"carbon kind = direct: lca;.*\[missing\]"):
        read_carbon(path)


def test_unspecified_kind_gives_a_warning(write):
    path = write("time_utc,ci_unspecified\n2023-01-01T00:00,1\n2023-01-01T01:00,2\n")
    carbon = read_carbon(path, kind="lca")
    assert carbon["carbon_intensity"].attrs["units"] == "kg MWh-1"
    assert "does not say whether" in carbon.attrs["notes"][0]


def test_unit_of_carbon_is_checked(write):
    text = MAPS.replace("gCO₂eq/kWh", "kgCO₂eq/kWh").replace(",10", ",")
    kilograms = read_carbon(write(text))
    assert kilograms["carbon_intensity"].values == pytest.approx([500.0, 1500.0])
    with pytest.raises(SeriesError, match=r"columns = Carbon.*\[wrong-unit\]"):
        read_carbon(write(MAPS.replace("gCO₂eq/kWh", "lb/MWh")))
    with pytest.raises(SeriesError, match=r"columns = .*\[missing\]"):
        read_carbon(write(_two_hours("time,price_eur_mwh")))


def test_joined_file_gives_both(write):
    path = write(JOINED + "2023-01-01T00:00,1,100,150\n2023-01-01T01:00,2,101,151\n")
    assert recognise_series_kind(path) == "prices"
    assert read_prices(path)["carbon_intensity"].values.tolist() == [100, 101]
    bundle = read(path, kind="lca")
    assert list(bundle.prices.data_vars) == ["electricity_price"]
    assert bundle.carbon["carbon_intensity"].values.tolist() == [150, 151]
    assert bundle.weather is None


def test_naive_times_of_a_joined_file_use_the_zone(write):
    path = write(
        JOINED.replace("time_utc", "time")
        + "2023-01-01T00:00,1,100,150\n2023-01-01T01:00,2,101,151\n"
    )
    bundle = read(path, zone="DE-LU")
    assert str(bundle.carbon["time"].values[0]).startswith("2022-12-31T23:00")
    with pytest.raises(SeriesError, match=r"row 2, time = .*\[time-zone\]"):
        read_carbon(path)


def test_files_are_recognised_by_content(write):
    assert recognise_series_kind(write(MAPS)) == "carbon"
    assert recognise_series_kind(write(_two_hours("time,EUR_per_kWh"))) == "prices"
    assert recognise_series_kind(write("arrival_time,length,cpus\n0,1,1\n")) == "jobs"
    assert recognise_series_kind(write('{"hourly": {}}')) == "weather"
    with pytest.raises(SeriesError, match=r"columns = TIMESTAMP, tokens: .*\[missing\]"):
        recognise_series_kind(write("TIMESTAMP,tokens\n1,2\n"))


def test_two_files_of_one_kind_are_refused(write):
    first, second = write(MAPS, name="a"), write(MAPS, name="b")
    with pytest.raises(SeriesError, match=r"b = carbon: .* in a;.*\[duplicate\]"):
        read(first, second)
