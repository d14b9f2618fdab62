"""Operations made into Python functions, for those that come again and again."""
