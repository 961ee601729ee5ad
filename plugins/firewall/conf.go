package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
)

// conf is the configuration. The keys and their meaning are those of the upstream plugin v1.9.1.
type conf struct {
	Backend string `json:"backend"` // empty: firewalld where it runs, and nftables
	// IptablesAdminChainName is accepted: the administrator's chain has one name.
	IptablesAdminChainName string `json:"iptablesAdminChainName"`
	FirewalldZone          string `json:"firewalldZone"` // empty: trusted
	IngressPolicy          string `json:"ingressPolicy"` // empty: open
}

func parse(stdin []byte, _ attach.Env) (conf, error) {
	var c conf
	if err := attach.Decode(stdin, &c); err != nil {
		return c, err
	}
	if c.FirewalldZone == "" {
		c.FirewalldZone = "trusted"
	}
	switch c.IngressPolicy {
	case "", "open", "same-bridge", "isolated":
	default:
		return c, attach.Invalidf("key ingressPolicy is %q: give \"open\", \"same-bridge\" or \"isolated\"", c.IngressPolicy)
	}
	return c, nil
}
