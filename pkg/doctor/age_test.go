package doctor

import (
	"os"
	"regexp"
	"testing"
)

func TestAgeOfKernel(t *testing.T) {
	for release, old := range map[string]bool{
		"5.15.0-91-generic": true, "6.0.19": true, "4.18.0-553.el8_10.x86_64": true, "unknown": true, "": true,
		"6.1.0-50-amd64": false, "6.1": false, "6.12.117+deb13-amd64": false, "6.18.44": false, "7.0.0-rc1": false, "10.0": false,
	} {
		if got := len(ageOf(release)) > 0; got != old {
			t.Errorf("%q: warns %t, want %t", release, got, old)
		}
	}
}

// The oldest kernel is the one that the tests boot, and that the README names.
func TestOldestKernelIsTested(t *testing.T) {
	for file, pattern := range map[string]string{
		"../../scripts/test-kernels": `(?m)^oldest=6\.1 `,
		"../../README.md":            `Linux 6\.1 and 6\.12`,
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if OldestKernel != [2]int{6, 1} || !regexp.MustCompile(pattern).Match(text) {
			t.Errorf("%s has no %s, and the oldest kernel is %v", file, pattern, OldestKernel)
		}
	}
}
