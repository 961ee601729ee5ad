package main

import (
	"math"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state/qdisc"
)

// conf is the configuration. The keys and their meaning are those of the upstream plugin v1.9.1: what the network says comes
// before what a runtime gives for one container.
type conf struct {
	Limits

	RuntimeConfig struct {
		Bandwidth *Limits `json:"bandwidth"`
	} `json:"runtimeConfig"`

	in, out qdisc.Rate
}

// Limits are bits a second, and bits at once. Nil: not said.
type Limits struct {
	IngressRate  *uint64 `json:"ingressRate"`
	IngressBurst *uint64 `json:"ingressBurst"`
	EgressRate   *uint64 `json:"egressRate"`
	EgressBurst  *uint64 `json:"egressBurst"`
}

func parse(stdin []byte, _ attach.Env) (conf, error) {
	var c conf
	if err := attach.Decode(stdin, &c); err != nil {
		return c, err
	}
	limits, where := c.Limits, "key "
	if limits == (Limits{}) && c.RuntimeConfig.Bandwidth != nil {
		limits, where = *c.RuntimeConfig.Bandwidth, "runtimeConfig.bandwidth."
	}
	var err error
	if c.in, err = rate(where+"ingress", limits.IngressRate, limits.IngressBurst); err != nil {
		return c, err
	}
	c.out, err = rate(where+"egress", limits.EgressRate, limits.EgressBurst)
	return c, err
}

// rate is a limit of one direction. Zeros are none.
func rate(what string, bits, burst *uint64) (r qdisc.Rate, err error) {
	if bits != nil {
		r.Bits = *bits
	}
	if burst != nil {
		r.Burst = *burst
	}
	switch {
	case r.Bits == 0 && r.Burst == 0:
		return qdisc.Rate{}, nil
	case r.Bits == 0 || r.Burst == 0:
		return qdisc.Rate{}, attach.Invalidf("%sRate is %d and %sBurst is %d: give both, or none", what, r.Bits, what, r.Burst)
	case r.Bits < 8 || r.Burst < 8:
		return qdisc.Rate{}, attach.Invalidf("%sRate is %d and %sBurst is %d: give bits, at least those of a byte", what, r.Bits, what, r.Burst)
	case r.Burst/8 >= math.MaxUint32:
		return qdisc.Rate{}, attach.Invalidf("%sBurst is %d: give less than 4 GiB, in bits", what, r.Burst)
	}
	return r, nil
}
