/* Where a word stands in a policy's text: tables know no lines, people want them. */
#include <string.h>

#include "module.h"

static int is_word(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

int llmd__lua_identifier(const char *p, size_t n)
{
  static const char *const reserved[] = {
    "and", "break", "do",  "else", "elseif", "end",    "false", "for",  "function", "goto",  "if",
    "in",  "local", "nil", "not",  "or",     "repeat", "return", "then", "true",     "until", "while"};
  if (!n || (p[0] >= '0' && p[0] <= '9'))
    return 0;
  for (size_t i = 0; i < n; i++)
    if (!is_word(p[i]))
      return 0;
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (strlen(reserved[i]) == n && !memcmp(reserved[i], p, n))
      return 0;
  return 1;
}

/* Behind "--" on its line. Good enough: a string with two dashes only costs a line number. */
static int in_comment(const char *text, const char *at)
{
  for (const char *p = at; p > text && p[-1] != '\n'; p--)
    if (p[-1] == '-' && p - 1 > text && p[-2] == '-')
      return 1;
  return 0;
}

/* `word =` or `["word"] =`. */
static int is_given(const char *text, const char *at, const char *after)
{
  int quoted = at > text && (at[-1] == '"' || at[-1] == '\'');
  if (quoted && *after == at[-1] && after[1] == ']')
    after += 2;
  while (*after == ' ' || *after == '\t')
    after++;
  return *after == '=' && after[1] != '=';
}

static uint32_t line_at(const char *text, const char *at)
{
  uint32_t line = 1;
  for (; text < at; text++)
    line += *text == '\n';
  return line;
}

uint32_t llmd__lua_line_of(const llmd__lua_policy *p, const char *word)
{
  size_t n = strlen(word);
  const char *quoted = NULL;
  for (const char *at = n ? strstr(p->text, word) : NULL; at; at = strstr(at + 1, word)) {
    const char *after = at + n;
    int begins = at == p->text || !is_word(at[-1]) || !is_word(*at);
    int ends = !is_word(*after) || !is_word(after[-1]);
    if (!begins || !ends || in_comment(p->text, at))
      continue;
    if (is_given(p->text, at, after))
      return line_at(p->text, at);
    if (!quoted && at > p->text && (at[-1] == '"' || at[-1] == '\'') && *after == at[-1])
      quoted = at;
  }
  return quoted ? line_at(p->text, quoted) : 1;
}
