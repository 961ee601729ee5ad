package attachment

import (
	"context"
	"errors"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// Status asks the plugins of a network whether an ADD would work now. Those of a CNI version before 1.1.0 are not asked.
func (r Runtime) Status(ctx context.Context, network *libcni.NetworkConfigList) error {
	return pluginError(network.Name, r.libcni().GetStatusNetworkList(ctx, network))
}

// Refusal is what the plugins of a network say to every ADD: that they cannot read or use its configuration, or do what it asks for on this
// host. Nil: an ADD may work, or nobody can say, as plugins of a CNI version before 1.1.0.
func (r Runtime) Refusal(ctx context.Context, network *libcni.NetworkConfigList) error {
	const unavailable = 50 // CNI specification 1.1.0, section 5, "Error"
	err := r.Status(ctx, network)
	var said *types.Error
	if !errors.As(err, &said) {
		return nil
	}
	switch said.Code {
	case types.ErrDecodingFailure, types.ErrInvalidNetworkConfig, unavailable:
		return err
	}
	return nil
}
