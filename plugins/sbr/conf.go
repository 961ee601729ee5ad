package main

import (
	"math"

	"github.com/fairway-cni/fairway/pkg/attach"
)

// conf is the configuration. The key and its meaning are those of the upstream plugin v1.9.1.
type conf struct {
	Table *int `json:"table"` // nil: one of its own for each address
}

func parse(stdin []byte, _ attach.Env) (conf, error) {
	var c conf
	if err := attach.Decode(stdin, &c); err != nil {
		return c, err
	}
	if c.Table != nil && (*c.Table < 1 || *c.Table > math.MaxInt32) {
		return c, attach.Invalidf("key table is %d: give the number of a routing table, 1 to %d, or leave it out", *c.Table, math.MaxInt32)
	}
	return c, nil
}
