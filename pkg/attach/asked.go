package attach

import (
	"bytes"
	"encoding/json"
	"net"
)

// Asked is the keys by which a runtime asks for something for one container (CNI conventions, "Dynamic Plugin specific
// fields"): what its user said, and what the runtime itself says by a capability. A configuration embeds it.
type Asked struct {
	Args struct {
		CNI AskedOf `json:"cni"`
	} `json:"args"`
	RuntimeConfig AskedOf `json:"runtimeConfig"`
}

// AskedOf is what one place asks for.
type AskedOf struct {
	MAC string   `json:"mac"`
	IPs []string `json:"ips"` // with or without a prefix length
	// PortMappings are for a plugin that embeds Publishing, by which they are read.
	PortMappings json.RawMessage `json:"portMappings"`
}

// AskedMAC is the address that a call asks for, or nil: in place of the network's own, by CNI_ARGS, args or capability, of
// which the last counts.
func (a Asked) AskedMAC(own string, env Env) (mac net.HardwareAddr, err error) {
	for _, place := range []struct{ name, value string }{
		{"key mac", own}, {"MAC in CNI_ARGS", env.Arg("MAC")},
		{"args.cni.mac", a.Args.CNI.MAC}, {"runtimeConfig.mac", a.RuntimeConfig.MAC},
	} {
		if place.value == "" {
			continue
		}
		if mac, err = net.ParseMAC(place.value); err != nil || !isUnicast(mac) {
			return nil, Invalidf("%s is %q: give a unicast Ethernet address such as 02:00:00:00:00:01", place.name, place.value)
		}
	}
	return mac, nil
}

// isUnicast says whether an address can be a link's: one of Ethernet, not a group's, not zero.
func isUnicast(mac net.HardwareAddr) bool {
	return len(mac) == 6 && mac[0]&1 == 0 && !bytes.Equal(mac, make([]byte, 6))
}
