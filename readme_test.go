package steelyard_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Go code in the README is code that is compiled: every block stands word for
// word in an example.
func TestREADME_CodeIsThatOfTheExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var examples strings.Builder
	for _, pattern := range []string{"example_test.go", "*/example_test.go", "*/*/example_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			examples.Write(text)
		}
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.GreaterOrEqual(t, len(blocks), 4)
	for _, block := range blocks {
		require.NotEmpty(t, strings.TrimSpace(block[1]))
		require.Contains(t, examples.String(), block[1])
	}
}

// Links in the README lead somewhere.
func TestREADME_LinksExist(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(string(readme), -1) {
		_, err := os.Stat(link[1])
		require.NoError(t, err)
	}
}
