package attachment

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// nextIfName is the first of eth0, eth1, … that is not taken, as Docker names interfaces.
func nextIfName(taken []string) string {
	for n := 0; ; n++ {
		if name := "eth" + strconv.Itoa(n); !slices.Contains(taken, name) {
			return name
		}
	}
}

// linkNames is the names of all links in a namespace.
func linkNames(netns string) ([]string, error) {
	k, err := kernel.Open(netns)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	links, err := kernel.Dump(k.Container.LinkList)
	if err != nil {
		return nil, fmt.Errorf("links of %s: %w", netns, err)
	}
	names := make([]string, len(links))
	for i, link := range links {
		names[i] = link.Attrs().Name
	}
	return names, nil
}
