/** Whether `origins` contain an origin. In `make dev`, one that ends in `:*` stands for every port. */
export const allows = (origins, origin) => origins.some((allowed) => allowed === origin || allowed === origin.replace(/:\d+$/, ":*"));
