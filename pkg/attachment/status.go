package attachment

import (
	"context"

	"github.com/containernetworking/cni/libcni"
)

// Status asks the plugins of a network whether an ADD would work now. Those of a CNI version before 1.1.0 are not asked.
func (r Runtime) Status(ctx context.Context, network *libcni.NetworkConfigList) error {
	return pluginError(network.Name, r.libcni().GetStatusNetworkList(ctx, network))
}
