package docs

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// Every question of docs/faq.md is one, and has a short answer with one link: to the heading that says all.
func TestQuestions(t *testing.T) {
	const page = "docs/faq.md"
	groups := strings.Split(bed.ReadFile(t, bed.ModuleFile(page)), "\n## ")[1:]
	questions := 0
	for _, group := range groups {
		name, text, _ := strings.Cut(group, "\n")
		all := strings.Split(text, "\n### ")[1:]
		if len(all) == 0 {
			t.Errorf("%q has no question", name)
		}
		for _, q := range all {
			questions++
			question, answer, _ := strings.Cut(q, "\n")
			if !strings.HasSuffix(question, "?") {
				t.Errorf("%q is no question", question)
			}
			links := linkedPage.FindAllStringSubmatch(answer, -1)
			if len(links) != 1 {
				t.Errorf("%q has %d links, want one", question, len(links))
				continue
			}
			target := filepath.Join(filepath.Dir(page), links[0][1])
			if expectFile(t, page, target); !slices.Contains(anchors(t, target), links[0][2]) {
				t.Errorf("%q links %s%s, which is no heading", question, target, links[0][2])
			}
			if n := sentences(answer); n > 3 {
				t.Errorf("%q is answered in %d sentences", question, n)
			}
		}
	}
	if questions < 12 || questions > 15 || len(groups) < 6 {
		t.Errorf("there are %d questions in %d groups, want 12 to 15 in 6", questions, len(groups))
	}
}

// sentences counts those of an answer, with the one that has the link.
func sentences(text string) int {
	code := regexp.MustCompile("`[^`]*`|\\([^)]*\\)").ReplaceAllString(strings.TrimSpace(text), "")
	return len(regexp.MustCompile(`[.?](\s|$)`).FindAllString(code, -1))
}
