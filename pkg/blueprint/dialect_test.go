package blueprint

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestDialectsAreThoseOfThePlugins: create accepts no key that the plugin would ignore, by the plugin's README.
func TestDialectsAreThoseOfThePlugins(t *testing.T) {
	for plugin, d := range map[string]dialect{"bridge": bridgeDialect, "macvlan": macvlanDialect, "overlay-vxlan": overlayDialect} {
		text, err := os.ReadFile(filepath.Join("..", "..", "plugins", plugin, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (string|bool|number|list|object) \\|").FindAllStringSubmatch(string(text), -1) {
			known[row[1]] = true
		}
		for key := range d.keys {
			if !known[key] {
				t.Errorf("%s: the README has no key %s", plugin, key)
			}
		}
		for option, key := range d.docker {
			if _, ok := d.keys[key]; !ok {
				t.Errorf("%s: the option %s stands for %s, which is no key", plugin, option, key)
			}
		}
	}
}
