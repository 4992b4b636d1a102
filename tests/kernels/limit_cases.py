"""Networks whose limits the tests compare."""

from widelimit.layers import Parameterization
from widelimit.networks import mlp

NTK = Parameterization.NTK


def net(phi, depth=2, bias_std=0.4, **options):
    common = {"width": 3, "weight_std": 1.3, "parameterization": NTK}
    options = common | options
    return mlp(depth=depth, activation=phi, bias_std=bias_std, **options)
