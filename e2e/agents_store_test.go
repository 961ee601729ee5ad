package e2e

import (
	"strings"
	"testing"
)

// The store goes back: it is restored from a backup, and then emptied. Traffic goes on, who had a block has it again, no network is
// lost, and health says what happened.
func TestStoreGoesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 1)
	c.start(t)
	h1, h2 := c.hosts[0], c.hosts[1]
	c.put(t, h1, overlayNet("blue", "10.42.0.0/16"))
	if err := c.etcd.Backup(0); err != nil {
		t.Fatal(err)
	}
	c.put(t, h1, overlayNet("later", "10.43.0.0/16"))
	awaitHealthy(t, h1)
	awaitHealthy(t, h2)
	a, _ := h1.add(t, "later", "a")
	b, addrB := h2.add(t, "later", "b")
	blocks := map[*member]string{h1: h1.address(t, "later"), h2: h2.address(t, "later")}
	for what, goBack := range map[string]func() error{
		"restored": func() error { return c.etcd.Restore(0) },
		"emptied": func() error {
			if err := c.etcd.Lose(0); err != nil {
				return err
			}
			return c.etcd.Restart(0)
		},
	} {
		flow(t, a.Namespace, b.Namespace, addrB, func() {
			if err := goBack(); err != nil {
				t.Fatal(err)
			}
			for _, h := range c.hosts {
				eventually(t, h.Name+" says that the store was "+what, func() bool {
					health, err := h.Agent().Health(t.Context())
					return err == nil && strings.Contains(strings.Join(health.Events, "\n"), "etcd went back")
				})
				eventually(t, h.Name+" has its block again", func() bool {
					peers, err := h.Agent().Peers(t.Context(), "later")
					for _, p := range peers {
						if p.Self && len(p.Blocks) > 0 {
							return err == nil && p.Blocks[0].Addr().String() == blocks[h]
						}
					}
					return false
				})
				for _, network := range []string{"blue", "later"} {
					if !exists(h.conflist(network)) {
						t.Errorf("%s: %s is not offered any more", h.Name, network)
					}
				}
			}
		})
	}
}
