#include "harness_inner.h"

#include <string.h>

static uint32_t size_of(const llmd_param *p)
{
  switch (p->type) {
  case LLMD_PARAM_BOOL:
  case LLMD_PARAM_ENUM:
  case LLMD_PARAM_PLUGIN:
  case LLMD_PARAM_PROFILE:
    return sizeof(uint32_t);
  case LLMD_PARAM_STRING:
    return sizeof(llmd_str);
  case LLMD_PARAM_OBJECT:
    return p->sub_size;
  case LLMD_PARAM_LIST:
  case LLMD_PARAM_STRINGS:
  case LLMD_PARAM_MAP:
    return sizeof(llmd_list);
  case LLMD_PARAM_ANY:
    return 0;
  default:
    return sizeof(int64_t);
  }
}

static const char *param_fault(const llmd_param *table, uint32_t size)
{
  const llmd_param *p;
  for (p = table; p && p->name; p++) {
    const char *inner = p->sub ? param_fault(p->sub, p->sub_size) : NULL;
    if (inner)
      return inner;
    if (bench_row(table, p->name, strlen(p->name)) != p)
      return "two parameters of one name";
    if (!p->doc || !*p->doc)
      return "a parameter without doc";
    if (p->type < LLMD_PARAM_BOOL || p->type > LLMD_PARAM_ANY || p->offset + size_of(p) > size)
      return "a parameter outside of self";
    if (p->given + (p->given ? sizeof(uint32_t) : 0) > size)
      return "a given flag outside of self";
    if ((p->type == LLMD_PARAM_ENUM) != (p->values != NULL))
      return "values without an enum, or an enum without values";
    if ((p->type == LLMD_PARAM_OBJECT || p->type == LLMD_PARAM_LIST) != (p->sub != NULL))
      return "sub without object or list, or the reverse";
    if (p->max < p->min)
      return "a range upside down";
  }
  return NULL;
}

static const char *read_fault(const llmd_plugin *p)
{
  const llmd_read *r;
  for (r = p->reads; r && r->kind; r++) {
    if (r->kind > LLMD_READ_HEADER_IDS)
      return "a read of unknown kind";
    if (r->kind == LLMD_READ_DERIVED && !p->derive)
      return "a derived read without the verb";
    if ((r->flags & LLMD_READ_NAME_PARAM) && r->name_offset + sizeof(llmd_str) > p->self_size)
      return "a read's name outside of self";
    if ((r->flags & LLMD_READ_FROM_PARAM) && r->from_offset + sizeof(llmd_str) > p->self_size)
      return "a read's producer outside of self";
    if (!r->name && r->kind != LLMD_READ_NAME && r->kind != LLMD_READ_ADDRESS && r->kind != LLMD_READ_FRESH)
      return "a read without a name";
  }
  return NULL;
}

const char *bench_table_fault(const llmd_plugin *p)
{
  const char *fault;
  if (p->size != sizeof *p || p->abi != LLMD_PLUGIN_ABI || p->self_size == 0)
    return "size, abi or self_size";
  if (!p->type || !*p->type || !p->summary || !*p->summary)
    return "no type or no summary";
  if (!(p->kind & LLMD_SCORER) != !p->score || !(p->kind & LLMD_FILTER) != !p->filter ||
      !(p->kind & LLMD_DETECTOR) != !p->saturation || !(p->kind & LLMD_PRODUCER) != !p->produce)
    return "kind and verbs do not agree";
  if (!(p->kind & LLMD_PRODUCER) != !p->writes)
    return "writes without being a producer, or the reverse";
  fault = param_fault(p->params, p->self_size);
  return fault ? fault : read_fault(p);
}
