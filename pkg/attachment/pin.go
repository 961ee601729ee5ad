package attachment

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containernetworking/cni/libcni"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// pin reserves the addresses asked for with the node agent, where the network has one: on an overlay an address belongs to
// one host's block, and only the agent knows whether another host may have it.
func pin(ctx context.Context, network *libcni.NetworkConfigList, request Request) error {
	var overlay struct {
		Type, Agent string
	}
	first := network.Plugins[0].Bytes
	if err := json.Unmarshal(first, &overlay); err != nil || overlay.Type != "overlay-vxlan" || overlay.Agent == "" {
		return nil // a configuration that cannot be read is the plugin's to refuse
	}
	for _, ip := range request.IPs {
		p := agentapi.Pin{Address: ip, ContainerID: request.ID, IfName: request.IfName}
		if err := agentapi.New(overlay.Agent).Pin(ctx, network.Name, p); err != nil {
			return fmt.Errorf("network %s: address %s: %w", network.Name, ip, err)
		}
	}
	return nil
}
