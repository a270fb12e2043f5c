"""What a site exchanges with its grid."""

import xarray as xr


def net_import(data: xr.Dataset) -> xr.DataArray:
    """Return import less export of a state, a plan or a run, on its own axes. [MW]

    Parameters
    ----------
    data
        ``grid_import_power`` and ``grid_export_power`` [MW].
    """
    return data["grid_import_power"] - data["grid_export_power"]
