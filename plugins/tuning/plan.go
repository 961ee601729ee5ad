package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/tuning"
)

// plan declares the administrator's leave, the parameters and the settings of the interface. At DEL the latter are declared
// whatever the keys say by now: what was recorded is set again.
func plan(c conf, l attach.Link) (state.Set, attach.Amendment) {
	var set state.Set
	if len(c.parameters) > 0 {
		var allowed tuning.Allowed
		for _, p := range c.parameters {
			allowed.Keys = append(allowed.Keys, p.key)
		}
		set = append(set, allowed)
	}
	for _, p := range c.parameters {
		set = append(set, tuning.Parameter{Sysctl: state.Sysctl{In: state.Container, Key: p.file, Value: p.value}})
	}
	settings := tuning.Settings{
		Owner: l.Owner, Dir: c.DataDir, MAC: c.mac, Promisc: c.Promisc, MTU: c.MTU, AllMulti: c.AllMulti, TxQLen: c.TxQLen,
	}
	if c.tunes() || l.Removal {
		set = append(set, settings)
	}
	return set, attach.Amendment{Reread: c.mac != nil || c.MTU != 0}
}

// tunes says whether a setting of the interface is asked for.
func (c conf) tunes() bool {
	return c.mac != nil || c.Promisc || c.MTU != 0 || c.AllMulti != nil || c.TxQLen != nil
}

func prune(c conf, _ *attach.Kernel, network string, valid []state.Owner) error {
	return tuning.Prune(c.DataDir, network, valid)
}
