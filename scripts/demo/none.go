package main

import (
	"fmt"
	"strings"
)

const noneNetwork = `{"cniVersion": "1.1.0", "name": "none", "plugins": [{"type": "none"}]}`

func (s *stage) attachToNone() error {
	if err := s.attach("c3", noneNetwork); err != nil {
		return err
	}
	return s.check("c3", "all as declared")
}

func (s *stage) loopbackOnly() error {
	c3 := s.containers["c3"]
	for _, address := range []string{"127.0.0.1", "::1"} {
		if err := s.ping(c3, "itself", address); err != nil {
			return err
		}
	}
	routes, err := c3.busybox("ip", "route")
	if err != nil {
		return err
	}
	if routes = strings.TrimSpace(routes); routes != "" {
		return fmt.Errorf("c3 has a way out: %s", routes)
	}
	s.page.tick("no way out", "no route, no other interface")
	return nil
}

func (s *stage) detachFromNone() error { return s.detach("c3") }
