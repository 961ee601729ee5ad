package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// conf is the configuration. The keys and their meaning are those of the upstream plugin v1.9.1, but for Publishing's.
type conf struct {
	Backend      string   `json:"backend"`
	SNAT         *bool    `json:"snat"` // nil: true
	MasqAll      bool     `json:"masqAll"`
	ConditionsV4 []string `json:"conditionsV4"`
	ConditionsV6 []string `json:"conditionsV6"`
	// MarkMasqBit and ExternalSetMarkChain are about marks, of which nothing is needed.
	MarkMasqBit          *int    `json:"markMasqBit"`
	ExternalSetMarkChain *string `json:"externalSetMarkChain"`

	attach.Publishing
	attach.Asked

	ports []ports.Port
}

func parse(stdin []byte, _ attach.Env) (conf, error) {
	var c conf
	if err := attach.Decode(stdin, &c); err != nil {
		return c, err
	}
	if err := c.check(); err != nil {
		return c, err
	}
	var err error
	c.Capabilities = map[string]bool{"portMappings": true} // it has no other purpose
	c.ports, err = c.Ports(c.Asked)
	return c, err
}

// check refuses what cannot be, and what would not be done.
func (c conf) check() error {
	switch c.Backend {
	case "", "iptables", "nftables":
	default:
		return attach.Invalidf("key backend is %q: give \"nftables\", or leave it out", c.Backend)
	}
	if c.MarkMasqBit != nil && c.ExternalSetMarkChain != nil {
		return attach.Invalidf("keys markMasqBit and externalSetMarkChain are both given: choose one")
	}
	if c.MarkMasqBit != nil && (*c.MarkMasqBit < 0 || *c.MarkMasqBit > 31) {
		return attach.Invalidf("key markMasqBit is %d: give 0 to 31, or leave it out", *c.MarkMasqBit)
	}
	for _, key := range []struct {
		name       string
		conditions []string
	}{{"conditionsV4", c.ConditionsV4}, {"conditionsV6", c.ConditionsV6}} {
		for _, condition := range key.conditions {
			if condition != "" {
				return attach.Invalidf("key %s has %q, a rule's text for a program that is not executed: "+
					"say who may come in by key publishFrom, or add rules to chain %s of table inet %s", key.name, condition, ports.UserChain, ports.Table().Name)
			}
		}
	}
	return nil
}
