package plugins

import (
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/fairway-cni/fairway/pkg/testnet"
	"github.com/google/go-cmp/cmp"
)

// behind is a plugin behind another one in a list, for the same attachment: it has the network's name and the other's result.
func (a attachment) behind(result *types100.Result, plugin string, keys map[string]any) attachment {
	conf := map[string]any{"cniVersion": a.conf["cniVersion"], "name": a.conf["name"], "type": plugin}
	for key, value := range keys {
		conf[key] = value
	}
	a.plugin, a.conf = plugin, conf
	return a.after(result)
}

// chained is the plugins that stand behind others.
var chained = []string{"bandwidth", "firewall", "portmap", "sbr", "tuning"}

// TestChainedPassesTheResultOn: what a plugin does not change is passed on as it came, in each version.
func TestChainedPassesTheResultOn(t *testing.T) {
	for _, plugin := range chained {
		for _, version := range []string{"0.3.0", "0.4.0", "1.0.0", "1.1.0"} {
			t.Run(plugin+" "+version, func(t *testing.T) {
				a := bridgeOn(t, testnet.NewNS(t, "c")).with("cniVersion", version)
				result := a.add(t)
				next := a.behind(result, plugin, nil)
				if diff := cmp.Diff(result, next.add(t)); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				next.succeed(t, "DEL")
				next.succeed(t, "DEL")
				a.succeed(t, "DEL")
			})
		}
	}
}

// TestChainedNeedsAResult: first in a list, a plugin that adds to others has nothing to add to. DEL comes without a result, and
// without the container.
func TestChainedNeedsAResult(t *testing.T) {
	for _, plugin := range chained {
		t.Run(plugin, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c")).behind(nil, plugin, nil)
			for _, prev := range []any{nil, map[string]any(nil)} {
				a = a.with("prevResult", prev)
				wantText(t, "sentence", "prevResult is missing: name the plugin behind another one that attaches the container", a.fail(t, "ADD", 7))
				a.succeed(t, "DEL")
				a.withEnv("CNI_NETNS", "").succeed(t, "DEL")
			}
			a.statusCall().succeed(t, "STATUS")
			a.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
			a.gcCall().succeed(t, "GC")
		})
	}
}

// mistaken is a key of each plugin that is no list.
var mistaken = map[string]string{
	"bandwidth": "runtimeConfig", "firewall": "backend", "portmap": "runtimeConfig", "sbr": "table", "tuning": "args",
}

// TestChainedKeepsAMistakeFromADDAlone: DEL and GC go by what could be read.
func TestChainedKeepsAMistakeFromADDAlone(t *testing.T) {
	for _, plugin := range chained {
		t.Run(plugin, func(t *testing.T) {
			a := bridgeOn(t, testnet.NewNS(t, "c"))
			next := a.behind(a.add(t), plugin, nil).with(mistaken[plugin], []int{5})
			next.fail(t, "ADD", 6)
			next.succeed(t, "DEL")
			next.gcCall().with("cni.dev/valid-attachments", alive()).succeed(t, "GC")
		})
	}
}
